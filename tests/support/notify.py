"""A service manager's notify socket, as systemd listens on it: records who said what and when."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = struct.Struct("iII")
"""pid, uid, gid: struct ucred"""


@dataclass(frozen=True)
class Notice:
    """One message."""

    text: str
    sender_pid: int
    """As the kernel says; systemd takes messages of the main process only (NotifyAccess=main)."""
    at_us: int
    """Monotonic."""

    @property
    def fields(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.text.splitlines())


class NotifySocket:
    """Reads in a thread of its own, because the kernel's queue is short."""

    def __init__(self, path: Path | None = None) -> None:
        """Listen at *path*, or under a free abstract name."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        bound = f"\0tornado-multi-test-{secrets.token_hex(8)}" if path is None else str(path)
        self._sock.bind(bound)
        self._bound = bound
        self.address = bound.replace("\0", "@")
        self.notices: list[Notice] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._bound)
        self._thread.join(10)
        self._sock.close()
        if not self._bound.startswith("\0"):
            os.unlink(self._bound)

    def _read(self) -> None:
        while True:
            data, ancillary, _, _ = self._sock.recvmsg(65536, socket.CMSG_SPACE(CREDENTIALS.size))
            at_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            if not data:
                return
            pid = next(
                CREDENTIALS.unpack(content)[0]
                for _, kind, content in ancillary
                if kind == socket.SCM_CREDENTIALS
            )
            self.notices.append(Notice(data.decode(), pid, at_us))

    def texts(self, since: int = 0) -> list[str]:
        """Return what was said, from the message number *since* on."""
        return [notice.text for notice in self.notices[since:]]

    def states(self) -> list[str]:
        """Return the messages without what is said at intervals, and without the clock's value."""
        return [
            "\n".join(
                line.partition("=")[0] if line.startswith("MONOTONIC_USEC=") else line
                for line in text.splitlines()
            )
            for text in self.texts()
            if text != "WATCHDOG=1" and not text.startswith("EXTEND_TIMEOUT_USEC=")
        ]

    def count(self, text: str) -> int:
        return self.texts().count(text)

    def wait_for(self, beginning: str, *, since: int = 0, within_s: float = 30.0) -> Notice:
        """Wait for a message that begins so, from the message number *since* on."""

        def found() -> list[Notice]:
            return [item for item in self.notices[since:] if item.text.startswith(beginning)]

        return eventually(found, within_s=within_s, about=f"{beginning!r} in {self.texts()}")[0]
