"""Ties a service to the process of the tests: when that is killed, the kernel ends the service.

The parent-death signal of Linux comes when the *thread* that spawned a process ends. Tests may run
in threads that end before the service should, so one thread spawns for all and lives as long as
the process. The child asks for the signal itself, in its own interpreter: a ``preexec_fn`` would
run Python between fork and exec, which may hang when the tests have other threads.

The tree below the supervisor needs no leash: it ends when the supervisor does.
Runs in: tests (``spawn``), and supervisor before anything else (``main``).
Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor


def spawn(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in the thread that lives as long as this process.

    Args: options: those of ``subprocess.Popen``.
    """
    future = _spawner(os.getpid()).submit(lambda: subprocess.Popen(command, **options))  # noqa: S603 - our own interpreter and module
    return future.result()


def leashed(arguments: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
    """Return the command of ``tornado-multi ARGUMENTS`` that does not outlive this process.

    Args: flags: of the interpreter.
    """
    program = [sys.executable, *flags, "-m", "tornado_multi.testing.leash"]
    return [*program, str(os.getpid()), *arguments]


@lru_cache(maxsize=1)
def _spawner(_pid: int) -> ThreadPoolExecutor:
    """Return the one thread; a fork of the tests' process (by its pid) gets one of its own."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix="tornado_multi-spawn")


def main() -> None:
    """Ask for the signal, then be ``python -m tornado_multi`` in this very process."""
    import runpy

    from tornado_multi.process.linux import die_with_parent_thread

    parent_pid, sys.argv[1:] = int(sys.argv[1]), sys.argv[2:]
    die_with_parent_thread()
    if os.getppid() != parent_pid:
        sys.exit("The tests that wanted this service are gone.")
    runpy.run_module("tornado_multi", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
