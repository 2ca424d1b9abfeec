"""The ``bind_sockets`` calls of a script, so that a later generation finds its sockets again.

A call is known by its arguments (port asked for, address, family) and by its ordinal among calls
with the same arguments; it may bind several sockets. Runs in: script, before ``fork_processes``.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from typing import TYPE_CHECKING

from tornado.netutil import bind_sockets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tornado_multi.process.messages import Listener


class BindCalls:
    """Makes the calls, or finds what an earlier generation has bound by the same call."""

    def __init__(self, inherited: Iterable[Listener] = ()) -> None:
        self._inherited: dict[str, list[Listener]] = {}
        for listener in inherited:
            self._inherited.setdefault(listener.key, []).append(listener)
        self._seen: Counter[str] = Counter()
        self.bound: dict[str, list[socket.socket]] = {}
        """key -> sockets that this process has bound by itself"""
        self.found: list[tuple[Listener, socket.socket]] = []
        """Sockets of an earlier generation that this one asked for too."""

    def bind(
        self,
        port: int,
        address: str | None,
        family: socket.AddressFamily,
        backlog: int,
        flags: int | None,
        *,
        reuse_port: bool,
    ) -> list[socket.socket]:
        """Return listening sockets for one call."""
        call = f"port {port} address {address or '*'} family {int(family)}"
        key = f"{call} #{self._seen[call]}"
        listeners = self._inherited.pop(key, None)
        if listeners is None:
            sockets = bind_sockets(port, address, family, backlog, flags, reuse_port)
            self.bound[key] = sockets
        else:
            found = [(item, socket.socket(fileno=item.fd)) for item in listeners]
            self.found += found
            sockets = [sock for _, sock in found]
            for sock in sockets:
                sock.setblocking(False)  # whatever the program has given to setdefaulttimeout
                sock.listen(backlog)  # on one that listens: sets the backlog
        self._seen[call] += 1
        return sockets

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all calls."""
        return (*self.bound, *dict.fromkeys(listener.key for listener, _ in self.found))

    def close_rest(self) -> None:
        """Close what an earlier generation has bound and this one did not ask for."""
        for listeners in self._inherited.values():
            for listener in listeners:
                os.close(listener.fd)
        self._inherited = {}
