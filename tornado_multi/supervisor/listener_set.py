"""All listeners of a service: shared by all workers, or one for each instance.

In script mode each generation says which ones it has bound. Runs in: supervisor.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from tornado_multi.supervisor.listeners import BoundListener, ListenError, describe, open_listeners
from tornado_multi.supervisor.status import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tornado_multi.process.messages import Listener


class ListenerSet:
    """Listeners that all workers share, and which generation wants which."""

    def __init__(self, listeners: list[BoundListener]) -> None:
        self._listeners = listeners
        self._claims: dict[int, tuple[str, ...]] = {}
        """generation -> keys, of generations that say it"""

    def shared(self) -> tuple[Listener, ...]:
        """Return the listeners that zygotes pass on to every worker."""
        return tuple(listener.shared() for listener in self._listeners)

    def addresses(self) -> tuple[Address, ...]:
        return tuple(Address(listener.address) for listener in self._listeners)

    def own(self, fork_id: int) -> BoundListener | None:  # noqa: ARG002 - see InstanceListeners
        """Return the listener of one worker alone; None: there is none."""
        return None

    def open_for(self, fork_ids: Iterable[int]) -> None:
        """Open what these workers will need, or nothing. Raises: ListenError."""

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

    def refuse(self, fork_id: int | None = None) -> None:
        """Let no further connection begin, but keep those that are queued for the workers.

        Args: fork_id: at its own listener; None: at all.
        """
        for listener in self._of(fork_id):
            listener.refuse()

    def suspend(self, fork_id: int) -> None:
        """Refuse connections to an instance until its next worker listens."""

    def shut(self, fork_id: int | None = None) -> None:
        """End listening in all processes that share the sockets. Args: as for ``refuse``."""
        for listener in self._of(fork_id):
            listener.shut()

    def close(self) -> None:
        """Close our copies, and remove the paths of unix sockets."""
        for listener in self._of(None):
            listener.close()

    def _of(self, fork_id: int | None) -> list[BoundListener]:
        return list(self._listeners) if fork_id is None else []


class InstanceListeners(ListenerSet):
    """One listener for each fork_id; they come and go with the number of instances."""

    def __init__(self, bind_of: Callable[[int], str], backlog: int, scheme: str) -> None:
        super().__init__([])
        self._bind_of = bind_of
        self._backlog = backlog
        self._scheme = scheme
        self._own: dict[int, BoundListener] = {}

    def addresses(self) -> tuple[Address, ...]:
        return tuple(Address(item.address, fork_id) for fork_id, item in sorted(self._own.items()))

    def own(self, fork_id: int) -> BoundListener:
        """Return the listener of an instance, opened if need be. Raises: ListenError."""
        listener = self._own.get(fork_id)
        if (
            listener is None
            or listener.has_lost_its_path()
            or (listener.is_refusing and not listener.allow())
        ):
            if listener is not None:  # who leaves still holds it, and takes what is queued
                self._own.pop(fork_id).close()
            listener = self._own[fork_id] = self._open(fork_id)
        return listener

    def suspend(self, fork_id: int) -> None:
        """Keep the address, and refuse connections: what was queued is reset, for nobody takes it.

        A socket that has been shut can't listen again, so another one takes its place.
        """
        listener = self._own.get(fork_id)
        if listener is not None:
            listener.shut()
            listener.close()
            with contextlib.suppress(ListenError):  # then the next worker's start says so
                del self._own[fork_id]
                self._own[fork_id] = self._open(fork_id, is_listening=False)

    def open_for(self, fork_ids: Iterable[int]) -> None:
        """Open what these instances need, or nothing. Raises: ListenError: says which."""
        opened = []
        try:
            for fork_id in fork_ids:
                if fork_id not in self._own:
                    self._own[fork_id] = self._open(fork_id)
                    opened.append(fork_id)
        except BaseException:
            for fork_id in opened:
                self._own.pop(fork_id).close()
            raise

    def _open(self, fork_id: int, *, is_listening: bool = True) -> BoundListener:
        backlog = self._backlog if is_listening else None
        try:
            return open_listeners((self._bind_of(fork_id),), backlog, self._scheme)[0]
        except ListenError as error:
            raise ListenError(f"Instance {fork_id}: {error}") from error

    def shut(self, fork_id: int | None = None) -> None:
        """End listening. One listener alone is closed too: its instance is gone for good."""
        super().shut(fork_id)
        if fork_id is not None and (listener := self._own.pop(fork_id, None)) is not None:
            listener.close()

    def _of(self, fork_id: int | None) -> list[BoundListener]:
        if fork_id is None:
            return list(self._own.values())
        return [self._own[fork_id]] if fork_id in self._own else []
