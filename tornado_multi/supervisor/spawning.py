"""Starting zygotes: fresh interpreters that get one end of a channel and a boot message.

Runs in: supervisor, main thread (parent-death signals are bound to the thread that spawns).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tornado_multi.process.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tornado_multi.process.messages import Boot

PRIVATE_ENVIRONMENT = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
PRIVATE_ENVIRONMENT_PREFIXES = ("WATCHDOG_",)
"""What a service manager says to the supervisor alone."""
QUIET_DURING_SPAWN = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}


def spawn_zygote(boot: Boot) -> tuple[int, Channel]:
    """Start a zygote of ``serve``. Returns its pid and our end of its channel.

    Raises: OSError: the system refused. ValueError: the boot message is too large.
    """
    ours, theirs = Channel.pair()
    # The flags (-X dev, -W error ...) that this interpreter was started with hold for the app too.
    # A private helper of the standard library that multiprocessing relies on as well.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    # sys.executable is the path as typed, not resolved: a virtual environment that a release
    # link leads to is found anew by each generation.
    command = [sys.executable, *flags, "-m", "tornado_multi.zygote_process", str(theirs.fileno())]
    fds = [theirs.fileno(), boot.scoreboard_fd, *(item.fd for item in boot.listeners)]
    try:
        ours.send(boot)
        pid = start_quietly(command, fds, app_environment(os.environ))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, ours


def app_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is meant for the supervisor alone."""
    return {
        key: value
        for key, value in environment.items()
        if key not in PRIVATE_ENVIRONMENT and not key.startswith(PRIVATE_ENVIRONMENT_PREFIXES)
    }


def start_quietly(
    command: Sequence[str],
    fds: Sequence[int],
    environment: Mapping[str, str],
    *,
    directory: str | None = None,
    stderr_fd: int | None = None,
) -> int:
    """Start a program with the stop signals masked: a zygote begins by ignoring them.

    Returns: its pid; the caller collects its end.
    Raises: OSError: the system refused.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, QUIET_DURING_SPAWN)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stderr=stderr_fd,
            env=environment,
            cwd=directory,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    process.returncode = 0  # or it would look after the process too, and warn that it still runs
    return process.pid
