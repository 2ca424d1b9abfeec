"""Taking connections from listeners that siblings share.

Tornado takes up to 128 connections per wakeup, so the first worker to wake hoards keep-alive
clients. Here: at most a few per wakeup, and a worker that already has more than its share steps
aside for a moment, so that a sibling takes the connection; if none does, it takes it after all.
Runs in: worker, on its loop. ``may_accept`` is pure.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import select
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tornado_multi.process import scoreboard as sb

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

ACCEPTS_PER_WAKEUP = 4
FAIR_SHARE = 1.25
"""A worker may hold this many times the mean of connections."""
STEP_ASIDE_S = 0.001
STEP_ASIDE_AT_MOST_S = 0.02
"""A connection nobody else took by then is taken: siblings may all be busy."""
SHORT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
RESOURCE_PAUSE_S = 0.5
FILES_GUARD = 0.9
"""Share of RLIMIT_NOFILE at which accepting stops: the app needs files and clients too."""
BEATING_WITHIN_NS = 3_000_000_000
"""A sibling whose loop hasn't beaten for this long takes nothing: it doesn't count."""

OnConnection = Callable[[socket.socket, object], None]


def may_accept(own_connections: int, others: Sequence[int]) -> bool:
    """Tell whether one more connection is within this worker's fair share.

    Args: others: connections of each other ready worker whose loop beats; empty = nobody else.
    """
    if not others or own_connections <= min(others):
        return True
    total = own_connections + sum(others) + 1
    return (own_connections + 1) * (len(others) + 1) <= FAIR_SHARE * total


class Accepting:
    """All listeners of one worker, and the decision whether to accept now."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        board: sb.Scoreboard,
        row: sb.Row,
        max_connections: int | None,
        notice: Callable[[str, str], None],
        *,
        shares_with: int | None = None,
    ) -> None:
        """Take what it needs to begin.

        Args: shares_with: the fork_id whose processes alone accept here; None: all workers do.
        """
        self._loop = loop
        self._board = board
        self._row = row
        self._limit = sys.maxsize if max_connections is None else max_connections
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = soft == resource.RLIM_INFINITY
        self._guarded_fd = sys.maxsize if unlimited else int(soft * FILES_GUARD)
        """Descriptors are handed out lowest first: one this high says how many are open."""
        self._short_of_files = False
        self._taking_all = False
        self._notice = notice
        self._shares_with = shares_with
        self._listeners: list[tuple[socket.socket, OnConnection]] = []
        self._own: list[tuple[socket.socket, OnConnection]] = []
        self._listening = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._aside_since_s: float | None = None
        self._aside_until_s = 0.0
        self.connections = 0

    def add(
        self, sock: socket.socket, on_connection: OnConnection, *, is_own: bool = False
    ) -> Callable[[], None]:
        """Begin to accept on one more listener. Returns what ends it (``TCPServer.stop``).

        Args: is_own: no sibling shares it, so that nobody takes what we leave in its queue.
        """
        entry = (sock, on_connection)
        if is_own:
            self._own.append(entry)
        self._listeners.append(entry)
        if self._listening:
            self._loop.add_reader(sock, self._readable, sock, on_connection)
        elif self._timer is None and not self._stopped:
            self._resume()
        return functools.partial(self._remove, entry)

    def _remove(self, entry: tuple[socket.socket, OnConnection]) -> None:
        if entry in self._own:
            self._own.remove(entry)
        if entry in self._listeners:
            self._listeners.remove(entry)
            if self._listening:
                self._loop.remove_reader(entry[0])

    def stop(self) -> None:
        """Accept nothing from now on. Listeners that siblings share stay open; our own are ended, for
        the kernel would go on to queue connections for us.
        """
        self._stopped = True
        self._pause()
        for sock, on_connection in self._own:
            _take_queue(sock, on_connection)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD)

    def hold(self, for_s: float) -> None:
        """Leave connections in the queue for a while: a successor comes that will take them."""
        if not self._taking_all:
            self._pause(for_s)

    def take_all(self, except_for: set[socket.socket]) -> None:
        """Accept whatever is queued from now on, whoever has more: it is the last chance.

        Limits of connections don't count any more either: what is not taken is reset.
        Args: except_for: listeners whose queue somebody else will take over.
        """
        self._pause()
        self._listeners = [item for item in self._listeners if item[0] not in except_for]
        self._taking_all = True
        self._limit = self._guarded_fd = sys.maxsize
        self._resume()

    def has_queued(self) -> bool:
        """Tell whether a connection waits to be accepted."""
        poller = select.poll()
        for sock, _ in self._listeners:
            poller.register(sock, select.POLLIN)
        return any(events & select.POLLIN for _, events in poller.poll(0))

    def opened(self) -> None:
        """Count a connection."""
        self.connections += 1
        self._row.store(sb.CONNECTIONS, self.connections)

    def closed(self) -> None:
        """Count a connection's end; accept again if that was what we waited for."""
        self.connections -= 1
        self._row.store(sb.CONNECTIONS, self.connections)
        if not self._listening and self._timer is None and not self._stopped:
            self._resume()

    def _resume(self) -> None:
        self._timer = None
        if self._stopped or self._listening or self.connections >= self._limit:
            return
        if self._short_of_files and self._lowest_free_fd() >= self._guarded_fd:
            self._pause(RESOURCE_PAUSE_S)
            return
        self._short_of_files = False
        self._listening = True
        for sock, on_connection in self._listeners:
            self._loop.add_reader(sock, self._readable, sock, on_connection)

    def _pause(self, for_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listening:
            self._listening = False
            for sock, _ in self._listeners:
                self._loop.remove_reader(sock)
        if for_s is not None and not self._stopped:
            self._timer = self._loop.call_later(for_s, self._resume)

    def _readable(self, sock: socket.socket, on_connection: OnConnection) -> None:  # noqa: PLR0911 - each reason to stop is one
        for _ in range(ACCEPTS_PER_WAKEUP):
            if not self._listening:  # on_connection may have stopped us
                return
            if self.connections >= self._limit:
                self._notice(
                    "max_connections",
                    f"A worker holds {self.connections} connections, its limit (max_connections); "
                    "further ones wait in the backlog.",
                )
                self._pause()
                return
            if not self._may_accept_now():
                self._pause(STEP_ASIDE_S)
                return
            try:
                connection, address = sock.accept()
            except BlockingIOError:  # a sibling was faster
                if self._taking_all and _is_shut(sock):
                    self._remove((sock, on_connection))
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno == errno.EINVAL:  # it was shut: the service stops
                    self._pause()
                    return
                if error.errno not in SHORT_OF_RESOURCES:
                    raise
                self._notice(
                    f"accept {error.errno}",
                    f"A worker can't accept connections just now: {error.strerror}.",
                )
                self._pause(RESOURCE_PAUSE_S)
                return
            fd = connection.fileno()
            connection.setblocking(False)
            on_connection(connection, address)
            if fd >= self._guarded_fd:
                self._guard_files(fd)
                return

    def _guard_files(self, fd: int) -> None:
        self._short_of_files = True
        self._notice(
            "files",
            f"A worker has {fd} open files, 90 % of its limit (RLIMIT_NOFILE); it accepts no "
            "further connections until some are closed.",
        )
        self._pause(RESOURCE_PAUSE_S)

    @staticmethod
    def _lowest_free_fd() -> int:
        try:
            fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return sys.maxsize
        os.close(fd)
        return fd

    def _may_accept_now(self) -> bool:
        if self._taking_all or may_accept(self.connections, self._siblings()):
            self._aside_since_s = None
            return True
        now_s = self._loop.time()
        if self._aside_since_s is None or now_s - self._aside_until_s > STEP_ASIDE_S * 2:
            self._aside_since_s = now_s  # a sibling took the last one; this is another
        self._aside_until_s = now_s + STEP_ASIDE_S
        if now_s - self._aside_since_s < STEP_ASIDE_AT_MOST_S:
            return False
        self._aside_since_s = None
        return True

    def _siblings(self) -> list[int]:
        board, own = self._board, self._row.index
        states = board.column(sb.STATE)
        connections = board.column(sb.CONNECTIONS)
        beats = board.column(sb.BEAT_NS)
        oldest_ns = int(self._loop.time() * 1_000_000_000) - BEATING_WITHIN_NS
        rows = [
            index
            for index, state in enumerate(states)
            if state == sb.RowState.READY and index != own and beats[index] > oldest_ns
        ]
        if self._shares_with is not None:
            fork_ids = board.column(sb.FORK_ID)
            rows = [index for index in rows if fork_ids[index] == self._shares_with]
        return [connections[index] for index in rows]


def _take_queue(sock: socket.socket, on_connection: OnConnection) -> None:
    """Accept what is queued now."""
    with contextlib.suppress(OSError):  # BlockingIOError: that was all
        while True:
            connection, address = sock.accept()
            connection.setblocking(False)
            on_connection(connection, address)


def _is_shut(sock: socket.socket) -> bool:
    """Tell whether a unix listener refuses connections: it reads as ready for ever, queue or not.

    A TCP listener that refuses them does not look so, and is ready only when somebody is queued.
    """
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return bool(poller.poll(0))
