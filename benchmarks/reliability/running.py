"""One system at work: started, looked at through /proc, signalled, and ended by pid.

Runs in: the comparison, which is a child subreaper: what a dead supervisor leaves falls to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.cluster import can_bind
from support.waiting import eventually

from benchmarks.reliability.clients import ask
from tornado_multi.testing import leash, processes

if TYPE_CHECKING:
    from benchmarks.reliability.systems import System, Wish

APPS = Path(__file__).parent / "apps"
STARTER = Path(__file__).parent / "starter.py"
READY_WITHIN_S = 20.0
GONE_WITHIN_S = 5.0


class Service:
    """A system that serves, in a session of its own; its faults are files in its directory."""

    def __init__(self, system: System, wish: Wish, python: str, *, subreaper: bool = False) -> None:
        """Start it.

        Args:
            python: the interpreter of the environment that the system is installed in.
            subreaper: orphans of its workers fall to its supervisor, as to process 1.
        """
        self.system = system
        self.workers_wanted = wish.workers
        self.port = wish.port
        self._directory = Path(wish.directory)
        self._log_path = self._directory / "log"
        starter = [sys.executable, str(STARTER), str(os.getpid())]
        command = [python, "-u", *system.arguments(wish)]
        with self._log_path.open("wb") as log:
            self.process = leash.spawn(
                [*starter, "subreaper" if subreaper else "plain", *command],
                cwd=APPS,
                env={
                    **os.environ,
                    "PYTHONPATH": str(APPS),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "RELIABILITY_DIR": wish.directory,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self.process.pid

    # --- looking ----------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Tell whether the supervisor runs."""
        return self.process.poll() is None

    def session(self) -> list[processes.Process]:
        """Return all its processes, zombies included, wherever they have fallen to."""
        return processes.session(self.pid)

    def workers(self) -> set[int]:
        """Return the pids of the workers that the supervisor has, ready or not."""
        return {
            process.pid
            for process in self.session()
            if process.parent_pid == self.pid
            and process.state != "Z"
            and self.system.worker_sign in process.title
        }

    def loaded(self) -> set[int]:
        """Return the pids of all workers that have ever loaded the app."""
        return {int(line.split()[0]) for line in self.marks("started")}

    def ready(self) -> set[int]:
        """Return the pids of the workers that have loaded the app."""
        return self.workers() & self.loaded()

    def is_whole(self) -> bool:
        """Tell whether there are as many workers as wanted, and all of them have loaded the app."""
        workers = self.workers()
        return len(workers) == self.workers_wanted and workers <= self.loaded()

    def leftovers(self) -> list[processes.Process]:
        """Return its processes that have not ended; collect those that fell to us and have."""
        left = []
        for process in self.session():
            if process.state != "Z":
                left.append(process)
            elif process.pid != self.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        return left

    def marks(self, name: str) -> list[str]:
        """Return the lines that the apps have left under this name."""
        path = self._directory / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    # --- acting -----------------------------------------------------------------------------------

    def wait_ready(self) -> Self:
        """Wait until all workers have loaded the app and a request is answered."""

        def ready() -> bool:
            assert self.is_alive(), f"it ended with {self.process.returncode}: {self.log()[-2000:]}"
            return self.is_whole() and ask(self.port, "/").kind == "success"

        eventually(ready, within_s=READY_WITHIN_S, about="it serves", log=self.log)
        return self

    def reload(self) -> None:
        """Ask for a reload, and return at once."""
        self.process.send_signal(signal.SIGHUP)

    def has_replaced(self, old: set[int]) -> bool:
        """Tell whether a reload has ended: none of the *old* workers is left, and all is whole."""
        return not self.workers() & old and self.is_whole()

    def switch(self, fault: str, *, on: bool) -> None:
        """Let the apps behave badly, or well again."""
        path = self._directory / fault
        if on:
            path.touch()
        else:
            path.unlink()

    def close(self) -> None:
        """End every process of it by pid, whatever state it is in, and prove that none is left."""
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            if number != signal.SIGKILL and not self.is_alive():
                continue
            for process in self.leftovers() if number == signal.SIGKILL else [self]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
            if number == signal.SIGTERM:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(GONE_WITHIN_S)
        self.process.wait(10)
        eventually(lambda: not self.leftovers(), within_s=10, about="every process has ended")
        eventually(lambda: can_bind(self.port), within_s=10, about="the port is free")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
