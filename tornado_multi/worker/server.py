"""Tornado's HTTPServer with fair accepting and a record per connection: the engine ``tornado``.

``HTTPServer.configure(DrainingHTTPServer)`` makes every HTTPServer of the app this one.
Runs in: worker, on its loop.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate

from tornado_multi.logs.request_id import begin_request, end_request
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.lingering import peer_has_finished, say_end

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine
    from tornado.iostream import IOStream

    from tornado_multi.worker.accepting import Accepting
    from tornado_multi.worker.connections import ConnectionRecord, Connections
    from tornado_multi.worker.health import Health


class RecordingDelegate(HTTPMessageDelegate):
    """Stands before the app's delegate and tells the record what passes."""

    __slots__ = ("_connections", "_inner", "_record")

    def __init__(
        self, connections: Connections, record: ConnectionRecord, inner: HTTPMessageDelegate
    ) -> None:
        self._connections = connections
        self._record = record
        self._inner = inner

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Count the request, route it, note where it went."""
        begin_request(headers)
        self._connections.request_began(self._record)
        result = self._inner.headers_received(start_line, headers)
        self._connections.request_routed(self._record, start_line[0], self._inner)
        return result

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass on a part of the body."""
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        """Pass on the end of the request; the handler begins here."""
        self._connections.request_read(self._record)
        self._inner.finish()

    def on_connection_close(self) -> None:
        """Pass on that the client left while it sent its request."""
        self._inner.on_connection_close()


class HealthyDelegate(RecordingDelegate):
    """As above, and looks for the health paths, which the app does not see."""

    __slots__ = ("_connection", "_health")

    def __init__(
        self,
        connections: Connections,
        record: ConnectionRecord,
        inner: HTTPMessageDelegate,
        health: Health,
        connection: HTTPConnection,
    ) -> None:
        super().__init__(connections, record, inner)
        self._health = health
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Take the request from the app if it is for a health path. It counts as none of the app's."""
        own = self._health.delegate_for(cast("RequestStartLine", start_line), self._connection)
        if own is None:
            return super().headers_received(start_line, headers)
        begin_request(headers)
        self._inner = own
        return own.headers_received(start_line, headers)


class DrainingHTTPServer(HTTPServer):
    """The HTTPServer of every worker."""

    accepting: ClassVar[Accepting]
    connections: ClassVar[Connections]
    health: ClassVar[Health | None]

    @classmethod
    def equip(cls, accepting: Accepting, connections: Connections, health: Health) -> None:
        """Give all servers of this process what they share; once, before the app is built."""
        cls.accepting = accepting
        cls.connections = connections
        cls.health = health if health.is_asked() else None
        HTTPServer.configure(cls)

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Take Tornado's own arguments."""
        super().initialize(*args, **kwargs)
        private.without_header_timeout(self)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on *sockets*, which the sibling workers share."""
        private.add_sockets(self, sockets, self.accepting)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Begin a connection's record."""
        self.connections.opened(stream)
        self.accepting.opened()
        # The one moment at which every connection passes, TLS and websockets included: the stream
        # gives its descriptor back.
        stream.close_fd = functools.partial(self._close_fd, stream, stream.close_fd)  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    def _close_fd(self, stream: IOStream, close_fd: Callable[[], None]) -> None:
        del stream.close_fd  # the partial holds the stream: leave no cycle behind
        if self.connections.has_said_all(stream):
            say_end(stream.socket)
        if self.connections.closed(stream) and not peer_has_finished(stream.socket):
            sock = private.take_socket(stream)
            self.connections.lingering.take(sock, self.accepting.closed)
        else:
            close_fd()
            self.accepting.closed()

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Tornado asks for a delegate when a connection becomes idle, also before the first request."""
        end_request()
        delegate = super().start_request(server_conn, request_conn)
        record = self.connections.records.get(server_conn.stream)
        if record is None:
            return delegate
        self.connections.became_idle(record, request_conn)
        if self.health is None:
            return RecordingDelegate(self.connections, record, delegate)
        return HealthyDelegate(self.connections, record, delegate, self.health, request_conn)

    def on_close(self, server_conn: Any) -> None:
        """Tornado's serving loop leaves the connection, closed or handed to a websocket."""
        record = self.connections.records.get(server_conn.stream)
        if (
            record is not None
            and record.request is not None
            and private.is_detached(record.request)
        ):
            self.connections.upgraded(record)
        super().on_close(server_conn)
