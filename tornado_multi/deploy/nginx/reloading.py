"""Lets a running nginx take over a configuration, and waits until it has. Acting. Runs in: commands.

A reload returns before anything has happened, and nginx goes on with the old configuration if it
does not like the new one. So it is over when the new hash is served (where the configuration has
one) and none of the workers from before is left.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.program import ProgramError
from tornado_multi.deploy.nginx.upstream import HASH_PATH
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.deploy.nginx.plan import Private

TAKE_OVER_S = 15.0
"""Time for the new workers to come; they took 11-30 ms."""
WRONG_ANSWERS_S = 3.0
"""Time in which new workers may still leave an answer to old ones, which stop accepting meanwhile."""
LOOK_EVERY_S = 0.05
ANSWER_TIMEOUT_S = 2.0
MOST_LOG_BYTES = 256 * 1024
ONE_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Taken:
    """A reload that is over."""

    duration_s: float
    workers_ended: int


@dataclass
class Running:
    """A running nginx."""

    pid: int
    """Of its master process."""
    error_log: str | None = None
    _log_begins: int = field(default=0, init=False)

    def reload(
        self,
        told_at: Private,
        config_hash: str | None,
        *,
        drain_s: float,
        progress: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Taken:
        """Send SIGHUP and wait.

        Args:
            told_at: the private listener that tells the hash.
            config_hash: what it is to tell; None: the configuration has none.
            drain_s: time that old workers may take after the new ones have come.
        Raises: ProgramError: nginx keeps the old configuration, or old workers stay.
        """
        began_s = clock()
        before = workers_of(self.pid)
        self._log_begins = _size(self.error_log)
        with contextlib.ExitStack() as stack:
            left = _pidfds(before, stack)
            self._send_hup()
            self._wait_for_new(told_at, config_hash, set(before), began_s + TAKE_OVER_S, clock)
            deadline_s = clock() + drain_s
            while left:
                progress(f"nginx has taken it over, {len(left)} of its old workers finish ...")
                _drop_ended(left)
                if left and clock() >= deadline_s:
                    message = (
                        f"nginx serves the new configuration, but {len(left)} of its old workers did not "
                        f"end within {drain_s:g} s (pid {', '.join(map(str, sorted(left.values())))}). They "
                        "serve long connections; worker_shutdown_timeout limits them."
                    )
                    raise ProgramError(message, ExitCode.NO)
        return Taken(clock() - began_s, len(before))

    def _send_hup(self) -> None:
        try:
            os.kill(self.pid, signal.SIGHUP)
        except OSError as error:
            message = f"Can't reload nginx (pid {self.pid}): {error.strerror}."
            raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error

    def _wait_for_new(
        self,
        told_at: Private,
        config_hash: str | None,
        before: set[int],
        deadline_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Wait until the new configuration is served.

        An old worker may answer for a while longer, so one right answer with new workers there
        is what counts.
        """
        poller = select.poll()  # of nothing: a pause
        wrong_since_s: float | None = None
        while True:
            has_new = bool(set(workers_of(self.pid)) - before)
            told = hash_served(told_at) if has_new and config_hash else None
            if has_new and (config_hash is None or told == config_hash):
                return
            now_s = clock()
            if told is not None and wrong_since_s is None:
                wrong_since_s = now_s
            is_wrong = wrong_since_s is not None and now_s >= wrong_since_s + WRONG_ANSWERS_S
            has_refused = not has_new and any(map(_is_final, self._complaints()))
            if is_wrong or has_refused or now_s >= deadline_s:
                raise ProgramError(self._why_not(told, has_new=has_new), ExitCode.NO)
            poller.poll(LOOK_EVERY_S * 1000)

    def _why_not(self, told: str | None, *, has_new: bool) -> str:
        said = next(iter(self._complaints()), "")
        hint = f" It says: {said.partition(': ')[2] or said}" if said else ""
        if not has_new:
            return f"nginx (pid {self.pid}) was told to reload and still runs the old configuration.{hint}"
        seen = "no answer comes there" if told is None else f"it tells {told}"
        return (
            f"nginx (pid {self.pid}) has new workers, but not this configuration: {seen}. Does its main "
            f"file include this one?{hint}"
        )

    def _complaints(self) -> list[str]:
        """Return the serious lines that nginx has logged since the reload."""
        if self.error_log is None:
            return []
        with contextlib.suppress(OSError), open(self.error_log, "rb") as file:
            file.seek(max(self._log_begins, _size(self.error_log) - MOST_LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
            return [line for line in lines if "[emerg]" in line]
        return []


def _is_final(line: str) -> bool:
    """Tell whether nginx has given up: a port is tried five times, and only then it says so."""
    return "bind() to" not in line


def find_running(pid_file: str) -> int:
    """Return the pid of the running nginx.

    Raises: ProgramError: no nginx runs under this pid file.
    """
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            name = file.read().strip()
    except FileNotFoundError:
        message = f"No nginx runs: {pid_file} is not there, or its process is not. Start it, or name the file with --nginx-pid-file."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from None
    except (OSError, ValueError) as error:
        message = f"Can't tell from {pid_file} whether nginx runs: {error}."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error
    if name != "nginx":
        message = f"{pid_file} names the process {pid}, which is not nginx but {name}."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM)
    return pid


def workers_of(master: int) -> list[int]:
    """Return the pids of a master's children: workers, also those that finish."""
    with contextlib.suppress(OSError):
        path = f"/proc/{master}/task/{master}/children"
        with open(path, encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    return []


def hash_served(told_at: Private) -> str | None:
    """Ask nginx which configuration it runs; None: no answer."""
    with contextlib.suppress(OSError), _connect(told_at.listen) as sock:
        sock.settimeout(ANSWER_TIMEOUT_S)
        sock.sendall(f"GET {HASH_PATH} HTTP/1.0\r\nHost: {told_at.name}\r\n\r\n".encode())
        answer = b""
        while len(answer) < ONE_ANSWER_BYTES and (data := sock.recv(ONE_ANSWER_BYTES)):
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        if head.split(b" ")[1:2] == [b"200"]:
            return body.decode("ascii", "replace").strip()
    return None


def _connect(listen: str) -> socket.socket:
    if listen.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(ANSWER_TIMEOUT_S)
            sock.connect(listen.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S)


def _pidfds(pids: list[int], stack: contextlib.ExitStack) -> dict[int, int]:
    """Return pidfd -> pid of those that are still there."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            stack.callback(os.close, pidfd)
            found[pidfd] = pid
    return found


def _drop_ended(left: dict[int, int]) -> None:
    """Wait a moment for ends, and forget those that have ended."""
    poller = select.poll()
    for pidfd in left:
        poller.register(pidfd, select.POLLIN)
    for pidfd, _ in poller.poll(LOOK_EVERY_S * 1000):
        del left[pidfd]


def _size(path: str | None) -> int:
    with contextlib.suppress(OSError):
        return os.stat(path).st_size if path else 0
    return 0
