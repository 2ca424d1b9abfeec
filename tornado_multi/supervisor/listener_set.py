"""All listeners of a service. In script mode each generation says which ones it has bound.

Runs in: supervisor.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tornado_multi.supervisor.listeners import BoundListener, describe

if TYPE_CHECKING:
    from tornado_multi.process.messages import Listener


class ListenerSet:
    """The listeners, and which generation wants which."""

    def __init__(self, listeners: list[BoundListener]) -> None:
        self._listeners = listeners
        self._claims: dict[int, tuple[str, ...]] = {}
        """generation -> keys, of generations that say it"""

    def shared(self) -> tuple[Listener, ...]:
        """Return the listeners as other processes know them."""
        return tuple(listener.shared() for listener in self._listeners)

    def addresses(self) -> tuple[str, ...]:
        return tuple(listener.address for listener in self._listeners)

    def add(self, fd: int, key: str) -> None:
        """Take over a socket that the script of a new generation has bound."""
        sock = socket.socket(fileno=fd)
        self._listeners.append(BoundListener(sock, describe(sock), key=key))

    def claim(self, generation: int, keys: tuple[str, ...] | None) -> None:
        """Note which listeners a generation has bound; None: it has no say (``serve``)."""
        if keys is not None:
            self._claims[generation] = keys

    def settle(self, generation: int) -> None:
        """Close what the generation that serves after a reload has not bound."""
        keys = self._claims.get(generation)
        if keys is None:
            return
        self._claims = {generation: keys}
        left = [listener for listener in self._listeners if listener.key not in keys]
        self._listeners = [listener for listener in self._listeners if listener.key in keys]
        for listener in left:
            listener.shut()
            listener.close()

    def refuse(self) -> None:
        """Let no further connection begin, but keep those that are queued for the workers."""
        for listener in self._listeners:
            listener.refuse()

    def shut(self) -> None:
        """End listening in all processes that share the sockets."""
        for listener in self._listeners:
            listener.shut()

    def close(self) -> None:
        """Close our copies, and remove the paths of unix sockets."""
        for listener in self._listeners:
            listener.close()
