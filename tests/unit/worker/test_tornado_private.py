"""The installed Tornado is the one that ``worker.tornado_private`` knows: private names and facts.

A Tornado release that changes one of them fails here, not in a drain at night.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import tornado
from tornado import autoreload, process
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import BaseIOStream, IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

import tornado_multi
from tornado_multi.worker import tornado_private as private

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
WITHIN_S = 20.0
"""A guard against hangs only."""

Visit = Callable[[RequestHandler], None]


class Visited(RequestHandler):
    """A handler that is looked at before, while and after it answers."""

    def initialize(self, visit: Visit) -> None:
        self.visit = visit

    async def get(self) -> None:
        self.visit(self)
        self.write("hello")
        await self.flush()
        self.visit(self)


class Socket(WebSocketHandler):
    pass


class Server(HTTPServer):
    """Tornado's server, with a list of what it calls of ours."""

    calls: list[tuple[str, Any, Any]]

    def initialize(self, *arguments: Any, **keywords: Any) -> None:
        super().initialize(*arguments, **keywords)
        self.calls = []
        self.streams: list[IOStream] = []

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self.streams.append(stream)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        self.calls.append(("start_request", request_conn, delegate))
        return delegate

    def on_close(self, server_conn: Any) -> None:
        self.calls.append(("on_close", server_conn, None))
        super().on_close(server_conn)


class Talk:
    """A client's connection to a server."""

    def __init__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes = GET) -> bytes:
        """Send a request, return the response's headers and the chunks of its body, if any."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head.lower():
            head += await self.reader.readuntil(b"0\r\n\r\n")
        return head

    async def is_at_end(self) -> bool:
        return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def talking(visit: Visit = lambda _handler: None, **keywords: Any) -> AsyncIterator[Talk]:
    """Connect a client to a server with one visited handler and one websocket."""
    app = Application(
        [("/", Visited, {"visit": visit}), ("/ws", Socket)], websocket_ping_interval=0
    )
    sock, port = bind_unused_port()
    server = Server(app, **keywords)
    server.add_socket(sock)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Talk(server, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.stop()
        await server.close_all_connections()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(WITHIN_S):
            await scenario()

    asyncio.run(main())


def connection_of(handler: RequestHandler) -> HTTP1Connection:
    connection = handler.request.connection

    assert isinstance(connection, HTTP1Connection)

    return connection


# --- the version ----------------------------------------------------------------------------------


def test_the_installed_tornado_is_a_supported_one() -> None:
    """setup.cfg says tornado>=6.5,<7."""
    assert (6, 5) <= tornado.version_info[:2] < (7, 0)


# --- each function of the module ------------------------------------------------------------------


def test_the_task_id_is_our_fork_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """tornado.process.task_id() reads the module's ``_task_id``."""
    monkeypatch.setattr(process, "_task_id", None)

    assert process.task_id() is None

    private.set_task_id(7)

    assert 7 == process.task_id()


def test_an_accepted_socket_is_given_to_a_server() -> None:
    """``_handle_connection(sock, address)`` does all that a server's own accept handler does."""

    async def scenario() -> None:
        sock, port = bind_unused_port()
        server = Server(Application([("/", Visited, {"visit": lambda _handler: None})]))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection, address = await asyncio.get_running_loop().sock_accept(sock)
        private.handle_connection(server, connection, address)

        assert (await Talk(server, reader, writer).ask()).startswith(b"HTTP/1.1 200 OK")

        writer.close()
        await writer.wait_closed()
        await server.close_all_connections()
        sock.close()

    run(scenario)


def test_unread_input_is_seen() -> None:
    """Bytes that the stream has taken from the kernel and no reader has taken from the stream."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        stream = IOStream(ours)

        assert not private.has_unread_input(stream)

        theirs.sendall(b"abc")

        assert b"a" == await stream.read_bytes(1)
        assert private.has_unread_input(stream)
        assert b"bc" == await stream.read_bytes(2)
        assert not private.has_unread_input(stream)

        stream.close()
        theirs.close()

    run(scenario)


def test_a_pipelined_request_is_unread_input() -> None:
    """Two requests in one packet: while the first is answered, the second lies in the stream."""
    seen: list[bool] = []

    async def scenario() -> None:
        async with talking(
            lambda handler: seen.append(private.has_unread_input(connection_of(handler).stream))
        ) as talk:
            await talk.ask(GET + GET)
            await talk.ask(b"")

    run(scenario)

    assert [True, True, False, False] == seen


def test_a_detached_stream_is_seen() -> None:
    """A websocket takes the stream from the request's connection; an answered request doesn't."""

    async def scenario() -> None:
        async with talking() as talk:
            await talk.ask()
            (_, request, _), *_ = talk.server.calls

            assert not private.is_detached(request)

            head = await talk.ask(UPGRADE)

            assert head.startswith(b"HTTP/1.1 101")

            upgraded = [item for name, item, _ in talk.server.calls if name == "start_request"][-1]

            assert private.is_detached(upgraded)
            assert "on_close" == talk.server.calls[-1][0], "Tornado's serving loop has left"

    run(scenario)


def test_a_closing_streams_socket_can_be_taken() -> None:
    """Within close_fd: the stream is done with it, and the socket lives on."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        stream = IOStream(ours)
        taken: list[socket.socket] = []
        stream.close_fd = lambda: taken.append(private.take_socket(stream))  # type: ignore[method-assign]
        stream.close()

        assert [ours] == taken
        assert stream.socket is None
        assert stream.closed()

        ours.sendall(b"still here")

        assert b"still here" == theirs.recv(100)

        ours.close()
        theirs.close()

    run(scenario)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text/event-stream", True),
        ("text/event-stream; charset=utf-8", True),
        ("TEXT/EVENT-STREAM", True),
        ("text/html", False),
        (None, False),
    ],
)
def test_an_event_stream_is_known_by_its_type(kind: str | None, expected: bool) -> None:  # noqa: FBT001
    """A handler's response headers are in ``_headers``, as they will leave."""
    seen: list[bool] = []

    def visit(handler: RequestHandler) -> None:
        if kind is not None and not seen:
            handler.set_header("Content-Type", kind)
        seen.append(private.is_event_stream(handler))

    async def scenario() -> None:
        async with talking(visit) as talk:
            await talk.ask()

    run(scenario)

    assert [expected, expected] == seen


def test_what_is_no_handler_is_no_event_stream() -> None:
    """A callback has no handler."""
    assert not private.is_event_stream(None)
    assert not private.is_event_stream(object())


def test_a_response_that_has_begun_is_seen() -> None:
    """From the moment its headers leave; for each request anew."""
    seen: list[bool] = []

    async def scenario() -> None:
        async with talking(
            lambda handler: seen.append(private.response_has_begun(connection_of(handler)))
        ) as talk:
            await talk.ask()
            await talk.ask()

            latest = talk.server.calls[-1][1]

            assert not private.response_has_begun(latest), "the request to come has none"

    run(scenario)

    assert [False, True, False, True] == seen


def test_a_response_that_is_whole_is_seen() -> None:
    """When the handler has given its end; not while it is streamed."""
    seen: list[bool] = []
    requests: list[HTTP1Connection] = []

    def visit(handler: RequestHandler) -> None:
        requests.append(connection_of(handler))
        seen.append(private.response_is_whole(requests[-1]))

    async def scenario() -> None:
        async with talking(visit) as talk:
            await talk.ask()

            assert private.response_is_whole(requests[-1])
            assert not private.response_is_whole(talk.server.calls[-1][1]), "the one to come"

    run(scenario)

    assert [False, False] == seen


def test_a_connection_can_be_ended_with_its_response() -> None:
    """Before the headers have left, they say so; the connection ends after the response."""

    async def scenario() -> None:
        async with talking(
            lambda handler: private.close_after_response(connection_of(handler))
        ) as talk:
            head = await talk.ask()

            assert b"\r\nConnection: close\r\n" in head
            assert await talk.is_at_end()

    run(scenario)


def test_a_connection_is_kept_otherwise() -> None:
    """The counterpart: without it the response says nothing of an end."""

    async def scenario() -> None:
        async with talking() as talk:
            assert b"Connection: close" not in await talk.ask()
            assert b"Connection: close" not in await talk.ask()

    run(scenario)


def test_the_timer_on_headers_can_be_taken_off() -> None:
    """``conn_params.header_timeout`` is what each connection goes by."""
    server = HTTPServer(Application())

    assert isinstance(server.conn_params, HTTP1ConnectionParameters)
    assert server.conn_params.header_timeout is not None

    private.without_header_timeout(server)

    assert server.conn_params.header_timeout is None

    async def scenario() -> None:
        async with talking() as talk:
            private.without_header_timeout(talk.server)

            assert (await talk.ask()).startswith(b"HTTP/1.1 200 OK")

    run(scenario)


@pytest.mark.parametrize("xheaders", [False, True])
def test_a_delegate_leads_to_its_handler(xheaders: bool) -> None:  # noqa: FBT001
    """Through the router's delegate and, behind a proxy, the headers' adapter."""
    handlers: list[RequestHandler] = []

    async def scenario() -> None:
        async with talking(handlers.append, xheaders=xheaders) as talk:
            await talk.ask()
            _, _, delegate = talk.server.calls[0]

            assert Visited is private.handler_class_of(delegate)
            assert handlers[0] is private.handler_of(delegate)

            _, _, next_delegate = talk.server.calls[-1]

            assert private.handler_class_of(next_delegate) is None, "no request, no handler"
            assert private.handler_of(next_delegate) is None

    run(scenario)


def test_a_delegate_leads_to_its_websocket() -> None:
    """Whose close() sends the code and is answered."""

    async def scenario() -> None:
        async with talking() as talk:
            await talk.ask(UPGRADE)
            _, _, delegate = talk.server.calls[0]
            handler = private.handler_of(delegate)

            assert isinstance(handler, Socket)
            assert Socket is private.handler_class_of(delegate)

            handler.close(1001, "going")

            assert b"\x88\x07\x03\xe9going" == await talk.reader.readexactly(9)

    run(scenario)


def test_a_delegate_without_a_handler_leads_nowhere() -> None:
    """An app may be any delegate, and there may be none yet."""
    assert private.handler_class_of(None) is None
    assert private.handler_of(None) is None
    assert private.handler_class_of(HTTPMessageDelegate()) is None
    assert private.handler_of(HTTPMessageDelegate()) is None


def test_a_chain_of_delegates_may_be_a_ring() -> None:
    """A delegate that leads to itself is looked at a few times, not for ever."""

    class Ring(HTTPMessageDelegate):
        @property
        def delegate(self) -> HTTPMessageDelegate:
            return self

    assert private.handler_of(Ring()) is None


# --- facts that the worker relies on --------------------------------------------------------------


def test_start_request_is_called_when_a_connection_becomes_idle() -> None:
    """Before the first request and again after each response: it marks the end of a request."""

    async def scenario() -> None:
        async with talking() as talk:
            await talk.ask()
            await talk.ask()
            names = [name for name, _, _ in talk.server.calls]

            assert ["start_request"] * 3 == names

            talk.writer.close()
            await talk.writer.wait_closed()
            await talk.server.close_all_connections()

            assert "on_close" == talk.server.calls[-1][0]

    run(scenario)


def test_every_close_of_a_stream_goes_through_close_fd() -> None:
    """The one moment at which every connection passes; an attribute of the instance is called."""

    async def scenario() -> None:
        closed: list[IOStream] = []
        async with talking() as talk:
            await talk.ask(UPGRADE)
            (stream,) = talk.server.streams
            close_fd = stream.close_fd

            def note() -> None:
                closed.append(stream)
                close_fd()

            stream.close_fd = note  # type: ignore[method-assign]
            stream.close()

            assert [stream] == closed

    run(scenario)


def test_servers_can_be_configured() -> None:
    """``HTTPServer.configure`` makes every HTTPServer of the app one of ours."""
    saved = HTTPServer._save_configuration()
    try:
        HTTPServer.configure(Server)

        assert isinstance(HTTPServer(Application()), Server)
    finally:
        HTTPServer._restore_configuration(saved)


def test_a_servers_sockets_are_kept_by_number() -> None:
    """``_sockets`` is what ``stop()`` closes."""
    server = TCPServer()

    assert {} == server._sockets
    assert server._handlers == {}


def test_autoreload_is_started_through_its_module() -> None:
    """An application with debug=True calls ``autoreload.start``, looked up at that moment."""
    started: list[object] = []
    original = autoreload.start
    autoreload.start = lambda check_time=500: started.append(check_time)
    try:
        Application(debug=True)
    finally:
        autoreload.start = original

    assert [500] == started


def test_the_classes_have_the_methods_that_are_overridden() -> None:
    """Names and parameters of what the worker's server overrides or calls."""
    expected = {
        (HTTPServer, "initialize"),
        (HTTPServer, "handle_stream"),
        (HTTPServer, "start_request"),
        (HTTPServer, "on_close"),
        (HTTPServer, "close_all_connections"),
        (TCPServer, "add_sockets"),
        (TCPServer, "_handle_connection"),
        (BaseIOStream, "close_fd"),
        (HTTP1Connection, "detach"),
        (HTTPServerConnectionDelegate, "start_request"),
    }

    assert [] == [
        f"{kind.__name__}.{name}" for kind, name in expected if not callable(getattr(kind, name))
    ]


# --- one place ------------------------------------------------------------------------------------


def private_uses(path: Path) -> list[str]:
    """Return uses of another object's private attributes (not self's or cls's) in a source file."""
    return [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    ]


ALLOWED = ("os._exit", "sys._current_frames", "atexit._", "weakref.finalize._")


def test_private_names_stand_in_one_module() -> None:
    """In the worker, only ``tornado_private`` reaches into Tornado's objects.

    Of the standard library: ``os._exit``, ``sys._current_frames``, and what ``atexit`` and ``weakref`` have no public name for.
    """
    directory = Path(tornado_multi.__file__).parent / "worker"
    uses = [
        use
        for path in sorted(directory.glob("*.py"))
        if path.name != "tornado_private.py"
        for use in private_uses(path)
    ]

    assert [] == [use for use in uses if not use.split()[1].startswith(ALLOWED)]
