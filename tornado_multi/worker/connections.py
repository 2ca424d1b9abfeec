"""One record per connection of this worker, and the row's figures that follow from them.

The seam between the worker and whatever engine serves connections: an engine reports what happens
to a connection here; drain, sweep and status read here. Runs in: worker, on its loop.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from tornado_multi.process import scoreboard as sb
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.lingering import has_waiting_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPMessageDelegate
    from tornado.iostream import BaseIOStream

    from tornado_multi.worker.lingering import Lingering


class ConnectionState(StrEnum):
    """What a connection is doing."""

    IDLE = "idle"
    """No request: between two, or before the first."""
    READING = "reading"
    """Headers are read, the body is coming."""
    BUSY = "busy"
    """The request is read, the handler works."""
    STREAMING = "streaming"
    """The response's headers have left, its end has not."""
    UPGRADED = "upgraded"
    """A websocket, or another protocol that a handler took the stream for."""


class ConnectionRecord:
    """One connection, from accept to close."""

    __slots__ = (
        "_state",
        "delegate",
        "found_late",
        "handler_name",
        "headers_since_s",
        "request",
        "since_s",
        "stream",
    )

    def __init__(self, stream: BaseIOStream, now_s: float) -> None:
        self.stream = stream
        self.since_s = now_s
        """Monotonic. When the present state began."""
        self.found_late = False
        """A sweep or a drain has found it silent for too long, once."""
        self.headers_since_s: float | None = None
        """Monotonic. When a sweep first saw the beginning of a request's headers."""
        self.request: HTTP1Connection | None = None
        """The request in progress, or the one to come."""
        self.delegate: HTTPMessageDelegate | None = None
        """Leads to the handler of the request begun last."""
        self.handler_name: str | None = None
        """Route of the request in progress; None between requests."""
        self._state = ConnectionState.IDLE

    @property
    def state(self) -> ConnectionState:
        """The present state; whether the response has begun is looked up, not recorded."""
        if (
            self._state in {ConnectionState.BUSY, ConnectionState.READING}
            and self.request is not None
            and private.response_has_begun(self.request)
        ):
            return ConnectionState.STREAMING
        return self._state

    def is_surely_silent(self) -> bool:
        """Tell, at the second look, that no request is on its way to the handler.

        Timers run before readers: after a blocked loop a request may lie in the kernel, or have
        been read and not be handled yet. The first look only remembers.
        """
        if not self.found_late:
            self.found_late = True
            return False
        return not has_waiting_bytes(getattr(self.stream, "socket", None))

    def is_being_read(self) -> bool:
        """Tell whether the request's body has not been read to its end."""
        return self._state is ConnectionState.READING

    def enter(self, state: ConnectionState, now_s: float) -> None:
        """Change the state."""
        self._state = state
        self.since_s = now_s
        self.headers_since_s = None
        self.found_late = False


class Routes:
    """Numbers for routes: a row has room for a number, the name goes once over the channel."""

    MOST = 1024
    """Further ones share one number: handler classes may be made at run time."""
    METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

    def __init__(self, tell: Callable[[int, str], None]) -> None:
        self._tell = tell
        self._numbers: dict[tuple[str, type | None], int] = {}
        self._names: list[str] = []

    def number(self, method: str, handler_class: type | None) -> int:
        """Return the route's number, 1..MOST + 1, naming it on first use."""
        if method not in self.METHODS:
            method = "?"  # clients may send any word; don't keep them all
        found = self._numbers.get((method, handler_class))
        return self._add(method, handler_class) if found is None else found

    def name(self, number: int) -> str:
        """Return the name of a number that ``number`` has returned."""
        return self._names[number - 1]

    def _add(self, method: str, handler_class: type | None) -> int:
        if len(self._names) > self.MOST:
            return self.MOST + 1
        if len(self._names) == self.MOST:
            name = "(other)"
        elif handler_class is None:
            name = f"{method} (callback)"
        else:
            name = f"{method} {handler_class.__module__}.{handler_class.__qualname__}"
        self._names.append(name)
        number = len(self._names)
        if number <= self.MOST:
            self._numbers[method, handler_class] = number
        self._tell(number, name)
        return number


class Connections:
    """The records of all connections, and what is counted of them."""

    def __init__(
        self, row: sb.Row, routes: Routes, lingering: Lingering, clock: Callable[[], float]
    ) -> None:
        self.records: dict[BaseIOStream, ConnectionRecord] = {}
        """stream -> record, one entry per open connection, upgraded ones included."""
        self.draining = False
        self.finished_while_draining = 0
        """Requests that ended since the drain began."""
        self.lingering = lingering
        self._row = row
        self._routes = routes
        self._clock = clock
        self._most_requests = sys.maxsize
        self._on_limit: Callable[[], None] = lambda: None

    def limit_requests(self, most: int, on_limit: Callable[[], None]) -> None:
        """Let connections end with the last of *most* requests, and call *on_limit* when it begins."""
        self._most_requests = most
        self._on_limit = on_limit

    def opened(self, stream: BaseIOStream) -> None:
        """Begin a record."""
        self.records[stream] = ConnectionRecord(stream, self._clock())

    def has_said_all(self, stream: BaseIOStream) -> bool:
        """Tell whether a connection that is being closed has had its last response to the end."""
        record = self.records.get(stream)
        if record is None or record.request is None:
            return False
        return not stream.writing() and (
            record.state is ConnectionState.IDLE or private.response_is_whole(record.request)
        )

    def closed(self, stream: BaseIOStream) -> bool:
        """End a record, and with it the request that may have been in progress.

        Returns: whether the client may still be sending, so that the close should linger.
        """
        record = self.records.pop(stream, None)
        if record is None:
            return False
        self._end_request(record)
        return (
            self.draining or record.is_being_read() or private.has_unread_input(stream)
        ) and record.state is not ConnectionState.UPGRADED

    def are_open(self) -> bool:
        """Tell whether any connection is left, lingering ones included."""
        return bool(self.records) or len(self.lingering) > 0

    def became_idle(self, record: ConnectionRecord, request: HTTP1Connection) -> None:
        """The last request is answered, *request* is what reads the next one."""
        self._end_request(record)
        record.request = request
        record.enter(ConnectionState.IDLE, self._clock())

    def request_began(self, record: ConnectionRecord) -> None:
        """Count a request: its headers are read."""
        row = self._row
        count = row.words[row.base + sb.REQUESTS] + 1
        row.words[row.base + sb.REQUESTS] = count
        row.words[row.base + sb.IN_FLIGHT] += 1
        record.enter(ConnectionState.READING, self._clock())
        record.handler_name = "?"
        if count >= self._most_requests:
            self._on_limit()

    def request_routed(
        self, record: ConnectionRecord, method: str, delegate: HTTPMessageDelegate
    ) -> None:
        """Note which handler got the request."""
        number = self._routes.number(method, private.handler_class_of(delegate))
        self._row.words[self._row.base + sb.ROUTE_ID] = number
        record.handler_name = self._routes.name(number)
        record.delegate = delegate

    def request_read(self, record: ConnectionRecord) -> None:
        """The whole request is read; its handler begins."""
        record.enter(ConnectionState.BUSY, self._clock())
        if self.draining or self._row.load(sb.REQUESTS) >= self._most_requests:
            self._make_last(record)

    def upgraded(self, record: ConnectionRecord) -> None:
        """A handler took the stream: no HTTP any more."""
        self._end_request(record)
        record.enter(ConnectionState.UPGRADED, self._clock())

    def _end_request(self, record: ConnectionRecord) -> None:
        if record.handler_name is None:
            return
        record.handler_name = None
        self.finished_while_draining += self.draining
        row = self._row
        left = row.words[row.base + sb.IN_FLIGHT] - 1
        row.words[row.base + sb.IN_FLIGHT] = left
        if left == 0:
            row.words[row.base + sb.ROUTE_ID] = 0

    def begin_drain(self) -> None:
        """Let each connection end with the response that is the last one already asked for."""
        self.draining = True
        for record in self.records.values():
            if record.state is ConnectionState.BUSY:
                self._make_last(record)

    @staticmethod
    def _make_last(record: ConnectionRecord) -> None:
        # A pipelined request that has been read is answered too: then that one is the last.
        # A response that has begun can't announce the end any more; its connection goes idle.
        if (
            record.request is not None
            and not private.has_unread_input(record.stream)
            and not private.response_has_begun(record.request)
        ):
            private.close_after_response(record.request)

    def sweep(self, idle_timeout_s: float, header_timeout_s: float) -> None:
        """Close connections that stayed idle, or in the middle of a request's headers, too long.

        One pass per beat for all, in place of one timer per request.
        """
        now_s = self._clock()
        for record in list(self.records.values()):
            if record.state is not ConnectionState.IDLE:
                continue
            if not private.has_unread_input(record.stream):
                late = now_s - record.since_s > idle_timeout_s
            elif record.headers_since_s is None:
                record.headers_since_s = now_s
                late = False
            else:
                late = now_s - record.headers_since_s > header_timeout_s
            if late and record.is_surely_silent():
                record.stream.close()
