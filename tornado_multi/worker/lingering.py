"""Lingering close: say that we are done, read what still comes, then close.

A plain close() while the client's bytes lie unread makes the kernel answer with RST, and an RST
throws away what the client has not read yet of our response: a 2 MB answer arrives cut.
On TLS connections the kernel's bytes are looked at beneath OpenSSL: Python's TLS sockets take no
flags, and what waits there undecrypted is on its way to us all the same.
Source: RFC 9112, section 9.6; RFC 8446, section 6.1. Runs in: worker, on its loop.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LINGER_S = 1.0
READ_BYTES = 64 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""A client that sends more than this after our last word is not listening."""


def peer_has_finished(sock: socket.socket) -> bool:
    """Tell whether the client has closed its side, or the connection is broken anyway."""
    try:
        return _peek(sock) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def has_waiting_bytes(sock: socket.socket | None) -> bool:
    """Tell whether bytes of the client lie unread, in the kernel or in OpenSSL."""
    if sock is None:
        return False
    try:
        return _peek(sock) != b"" or _has_pending(sock)
    except OSError:  # nothing there
        return _has_pending(sock)


def say_end(sock: socket.socket) -> None:
    """Say on a TLS connection that nothing follows; without it a client suspects a cut response."""
    if isinstance(sock, ssl.SSLSocket):
        # It would also wait for the client's word, which is read, or not, by the lingering. Before
        # the end of the handshake there is nothing to say.
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()


def _peek(sock: socket.socket) -> bytes:
    return socket.socket.recv(sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def _has_pending(sock: socket.socket) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


class Lingering:
    """The sockets that wait for their client's end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}
        self._on_end: dict[socket.socket, Callable[[], None]] = {}
        self._read_bytes: dict[socket.socket, int] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def take(self, sock: socket.socket, on_end: Callable[[], None]) -> None:
        """Own *sock* from now on; call *on_end* when it is closed."""
        try:
            socket.socket.shutdown(sock, socket.SHUT_WR)
        except OSError:  # the client has gone
            sock.close()
            on_end()
            return
        self._on_end[sock] = on_end
        self._read_bytes[sock] = 0
        self._timers[sock] = self._loop.call_later(LINGER_S, self._end, sock)
        self._loop.add_reader(sock, self._read, sock)

    def _read(self, sock: socket.socket) -> None:
        try:
            data = socket.socket.recv(sock, READ_BYTES)  # TLS or not: nobody decrypts it any more
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._read_bytes[sock] += len(data)
        if not data or self._read_bytes[sock] > MOST_BYTES:
            self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        timer = self._timers.pop(sock, None)
        if timer is None:
            return
        timer.cancel()
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(sock)
        sock.close()
        del self._read_bytes[sock]
        self._on_end.pop(sock)()

    def end_all(self) -> None:
        """Close what is left."""
        for sock in list(self._timers):
            self._end(sock)
