"""A network of a test's own: nothing in it is reached from outside, and all ports are free.

For servers that can't be told to listen on 127.0.0.1 alone. A network lives as long as its holder,
a process that does nothing, and as the servers in it.
Runs in: tests.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest

from support.machines import LOOPBACK_UP
from support.programs import require_program, require_root
from support.waiting import eventually
from tornado_multi.testing import leash

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

T = TypeVar("T")
LOOPBACK = "127.0.0.1"


class OwnNetwork:
    """A network namespace with nothing but a loopback interface, as a context.

    Skips the test where this system refuses one.
    """

    def __init__(self) -> None:
        unshare = require_program("unshare", "util-linux")
        self._nsenter = require_program("nsenter", "util-linux")
        self._own_user = [] if os.getuid() == 0 else ["--user"]
        map_root = ["--map-root-user"] if self._own_user else []
        script = (
            f"{shlex.quote(sys.executable)} -c {shlex.quote(LOOPBACK_UP)} && echo up && exec cat"
        )
        self._holder = leash.spawn(
            [unshare, "--net", *self._own_user, *map_root, "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"up\n":
            _, said = self._holder.communicate()
            _refused(said.decode(errors="replace").strip())
        self._fd = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the network go; it is gone when the last process in it has ended."""
        if self._holder.returncode is None:
            os.close(self._fd)
            self._holder.communicate(timeout=30)  # closes its standard input, at which it ends

    @property
    def number(self) -> int:
        """The kernel's number of this network."""
        return os.fstat(self._fd).st_ino

    def entering(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs *command* inside. Its pid is that of *command*."""
        keep = ["--preserve-credentials"] if self._own_user else []
        target = f"--target={self._holder.pid}"
        return [self._nsenter, target, "--net", *self._own_user, *keep, "--", *command]

    def processes(self) -> list[int]:
        """Return the pids of the processes inside but for the holder."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                is_inside = os.stat(f"/proc/{name}/ns/net").st_ino == self.number
            except OSError:
                continue  # it has ended
            if is_inside and int(name) != self._holder.pid:
                found.append(int(name))
        return found

    # --- this process inside ----------------------------------------------------------------------

    def run(self, function: Callable[..., T], *args: Any, within_s: float = 60.0) -> T:
        """Call a function in a thread that is inside; return its result or raise its error.

        Sockets that it makes belong to the network for ever, whoever uses them later, and so do
        processes and threads that it starts. Root only: others could enter with a whole process.
        """
        require_root("let a thread enter a network")
        outcome: list[Any] = []

        def call() -> None:
            try:
                _enter(self._fd)
                outcome.extend((None, function(*args)))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                outcome.append(error)

        thread = threading.Thread(target=call, daemon=True, name="inside-a-network")
        thread.start()
        thread.join(within_s)
        assert outcome, f"{function!r} has not ended within {within_s:g} s"
        if outcome[0] is not None:
            raise outcome[0]
        result: T = outcome[1]
        return result

    def run_async(self, make: Callable[[], Coroutine[Any, Any, T]], *, within_s: float = 60.0) -> T:
        """Run the coroutine that *make* returns in a loop of its own, in a thread that is inside."""

        async def limited() -> T:
            return await asyncio.wait_for(make(), within_s)

        return self.run(lambda: asyncio.run(limited()), within_s=within_s + 10)

    def connect(self, port: int, *, within_s: float = 10.0) -> socket.socket:
        """Return a socket that is connected to a port inside; anybody may use it."""
        return self.run(socket.create_connection, (LOOPBACK, port), within_s)

    def wait_empty(self) -> None:
        """Prove that no process is left inside."""
        eventually(lambda: not self.processes(), within_s=10, about="nobody is in the network")


def _enter(fd: int) -> None:
    """Move the calling thread into a network namespace (setns(2); Python 3.12 has os.setns)."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet = 0x40000000
    if libc.setns(fd, clone_newnet) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"This thread can't enter a network: {os.strerror(number)}.")


def _refused(said: str) -> None:
    text = f"this system gives nobody a network of their own: {said}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
