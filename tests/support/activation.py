"""Listening sockets that are passed to a service, as systemd passes them."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_FD = 3
OUT_OF_THE_WAY_FD = 30
"""Above every descriptor that is passed: none of them is overwritten while they are moved."""


class PassedSockets:
    """Sockets that a test holds and a cluster gets: as descriptors 3 and up, LISTEN_PID its own."""

    def __init__(self, socks: Sequence[socket.socket], names: str | None = None) -> None:
        self.socks = list(socks)
        self.fds = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, OUT_OF_THE_WAY_FD) for sock in socks]
        moves = "".join(f" {FIRST_FD + index}<&{fd} {fd}<&-" for index, fd in enumerate(self.fds))
        self.wrapper = ["bash", "-c", f'LISTEN_PID=$$ exec "$@"{moves}', "bash"]
        self.environment = {"LISTEN_FDS": str(len(self.fds))}
        if names is not None:
            self.environment["LISTEN_FDNAMES"] = names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.fds:
            os.close(fd)
        for sock in self.socks:
            sock.close()


def listening(*, blocking: bool = False) -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(blocking)
    return sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def free_port() -> int:
    """Return a port that is free now, for programs that take no port 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return port_of(probe)
