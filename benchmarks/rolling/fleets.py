"""The instances of one row: plain Tornado processes, or ours under their supervisor.

Runs in: the bench.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.cluster import can_bind
from support.servers import ServerProcess
from support.waiting import eventually

from benchmarks.rolling.outcome import Kill
from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.settings.model import ControlSettings
from tornado_multi.testing import processes

if TYPE_CHECKING:
    from benchmarks.rolling.rows import Flavour

APPS = Path(__file__).parent / "apps"
COMMAND_WITHIN_S = 60
PORTS = (20_000, 30_000)
"""Below those that the kernel gives to clients, so that a port between two instances stays free."""


def free_ports(count: int) -> int:
    """Return the first of so many ports of 127.0.0.1 in a row that nobody has at this moment."""
    firsts = (random.randrange(*PORTS) for _ in range(1000))
    return next(first for first in firsts if all(can_bind(first + k) for k in range(count)))


class PlainFleet:
    """Instances that are started and stopped one by one."""

    def __init__(
        self, flavour: Flavour, count: int, directory: Path, *, is_held: bool, is_unix: bool
    ) -> None:
        """Start all of them; they are ready after ``wait_ready``.

        Args:
            directory: for logs and sockets; it is made.
            is_held: this process binds the addresses and hands them on.
            is_unix: sockets in *directory* in place of ports.
        """
        directory.mkdir()
        self._flavour = flavour
        self._directory = directory
        self._started = 0
        first = free_ports(count)
        self._where = [
            str(directory / f"{k}.sock") if is_unix else str(first + k) for k in range(count)
        ]
        self.addresses = [
            f"unix:{where}" if is_unix else f"127.0.0.1:{where}" for where in self._where
        ]
        self._held = [_bound(int(where)) for where in self._where] if is_held else []
        self._servers = [self._spawn(fork_id) for fork_id in range(count)]

    def wait_ready(self) -> None:
        for server in self._servers:
            _wait_ready(server)

    def start(self, fork_id: int) -> None:
        """Start one, and wait until it accepts; the one before it may still be there."""
        self._servers[fork_id] = self._spawn(fork_id)
        _wait_ready(self._servers[fork_id])

    def stop(self, fork_id: int) -> None:
        """TERM one, and wait for its end."""
        self._servers[fork_id].stop(signal.SIGTERM)

    def replace(self, fork_id: int) -> None:
        """Start another one at the same listener, and stop the old one when that accepts."""
        old = self._servers[fork_id]
        self.start(fork_id)
        old.stop(signal.SIGTERM)

    def log(self) -> str:
        return "".join(server.log() for server in self._servers)

    def close(self) -> None:
        for server in self._servers:
            if server.process.poll() is None:
                server.stop(signal.SIGKILL)
        for listener in self._held:
            listener.close()

    def _spawn(self, fork_id: int) -> ServerProcess:
        held = self._held[fork_id] if self._held else None
        where = f"fd:{held.fileno()}" if held is not None else self._where[fork_id]
        self._started += 1
        return ServerProcess(
            [sys.executable, "-u", str(APPS / "plain_instance.py"), self._flavour, where],
            self._directory / f"{self._started}.log",
            pass_fds=[] if held is None else [held.fileno()],
        )


def _bound(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    listener.setblocking(False)
    return listener


def _wait_ready(server: ServerProcess) -> None:
    server.wait_ready(lambda: "ready" in server.log())


class OurFleet:
    """``tornado-multi instances``, and commands to it."""

    def __init__(self, count: int, directory: Path, *, is_unix: bool, most: int) -> None:
        """Start it; all instances are ready after ``wait_ready``.

        Args:
            directory: for its log and sockets; it is made.
            is_unix: sockets in *directory* in place of ports.
            most: so many instances it may have later.
        """
        directory.mkdir()
        self._count = count
        self._control = directory / "control.sock"
        first = free_ports(most)
        self._addresses = [
            f"unix:{directory}/{k}.sock" if is_unix else f"127.0.0.1:{first + k}"
            for k in range(most)
        ]
        where = ["--unix-dir", str(directory)] if is_unix else ["--first-port", str(first)]
        arguments = ["slow_app:make_app", "--count", str(count), *where, "--chdir", str(APPS)]
        # Where the control socket lies is no choice of behaviour.
        arguments += ["--control", str(self._control)]
        program = [sys.executable, "-m", "tornado_multi", "instances"]
        self._server = ServerProcess([*program, *arguments], directory / "log")

    @property
    def addresses(self) -> list[str]:
        """Of the instances that it starts with."""
        return self.addresses_of(self._count)

    def addresses_of(self, count: int) -> list[str]:
        return self._addresses[:count]

    def wait_ready(self) -> None:
        self._server.wait_ready(lambda: self._control.exists() and self._are_ready())

    def command(self, *words: str) -> None:
        """Give a command, and wait for its end.

        Raises: AssertionError: it failed, with what it said.
        """
        done = subprocess.run(
            [sys.executable, "-m", "tornado_multi", *words, "--control", str(self._control)],
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"

    def kill(self, fork_id: int) -> Kill:
        """Kill one instance with -9, and wait until another one is ready in its place."""
        pid = self._pid_of(fork_id)
        assert pid is not None
        at_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        # A zombie may have threads that still hold its connections; what is collected has none.
        eventually(
            lambda: processes.read_process(pid) is None,
            every_s=0.001,
            about="the killed one has ended",
        )
        dead_at_s = time.monotonic()
        eventually(lambda: self._pid_of(fork_id) not in {None, pid}, about="another is ready")
        return Kill(self._addresses[fork_id], at_s, dead_at_s)

    def log(self) -> str:
        return self._server.log()

    def close(self) -> None:
        if self._server.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.stop(signal.SIGTERM)

    def _are_ready(self) -> bool:
        return len([k for k in range(self._count) if self._pid_of(k)]) == self._count

    def _pid_of(self, fork_id: int) -> int | None:
        """Return the pid of the ready instance of this place, or None.

        It asks by itself: a command for each look would take half of the machine.
        """
        try:
            found = connect(ControlSettings(control=str(self._control)))
            with contextlib.closing(found) as asked:
                replies = list(asked.ask(Request("status")))
        except ControlError:
            return None
        workers = replies[-1].get("status", {}).get("workers", []) if replies else []
        ready = [
            worker["pid"]
            for worker in workers
            if worker["fork_id"] == fork_id and worker["state"] == "ready"
        ]
        return int(ready[0]) if ready else None
