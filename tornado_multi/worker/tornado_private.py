"""Every private name of Tornado that we use, in one place.

``tests/unit/worker/test_tornado_private.py`` fails when a Tornado release changes one of them.
Source: tornado 6.5 and 6.6, ``http1connection.py``, ``httpserver.py``, ``web.py``, ``process.py``.
Runs in: worker.
"""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tornado import process
from tornado.web import RequestHandler

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from types import FrameType

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPMessageDelegate
    from tornado.iostream import BaseIOStream, IOStream
    from tornado.tcpserver import TCPServer

    from tornado_multi.worker.accepting import Accepting

_LONGEST_DELEGATE_CHAIN = 4  # ours, the proxy headers' adapter, the router's, the handler's


def set_task_id(fork_id: int) -> None:
    """Make ``tornado.process.task_id()`` say our fork_id, as fork_processes would."""
    process._task_id = fork_id  # type: ignore[assignment]  # noqa: SLF001 - declared as None only


def handle_connection(server: TCPServer, sock: socket.socket, address: object) -> None:
    """Give an accepted socket to a server: TLS, stream, ``handle_stream``."""
    server._handle_connection(sock, address)  # noqa: SLF001


def add_sockets(
    server: TCPServer,
    sockets: Iterable[socket.socket],
    accepting: Accepting,
    is_own: Callable[[socket.socket], bool] = lambda _: False,
) -> None:
    """Accept on *sockets* for a server, in our way; stand in for ``TCPServer.add_sockets``.

    Args: is_own: whether no sibling shares the socket.
    """
    for sock in sockets:
        server._sockets[sock.fileno()] = sock  # noqa: SLF001
        server._handlers[sock.fileno()] = accepting.add(  # noqa: SLF001
            sock, functools.partial(handle_connection, server), is_own=is_own(sock)
        )


def replace_add_sockets(
    kinds: Iterable[type[TCPServer]],
    function: Callable[[TCPServer, Iterable[socket.socket]], None],
) -> None:
    """Let every server of these classes get its sockets by *function*."""

    def add_sockets(self: TCPServer, sockets: Iterable[socket.socket]) -> None:
        function(self, sockets)

    for kind in kinds:
        kind.add_sockets = add_sockets  # type: ignore[method-assign]


def has_unread_input(stream: BaseIOStream) -> bool:
    """Tell whether bytes lie in the stream that no reader has taken yet."""
    return stream._read_buffer_size > 0  # noqa: SLF001


def is_detached(request: HTTP1Connection) -> bool:
    """Tell whether a handler took the stream away: a websocket."""
    return request.stream is None


def take_socket(stream: IOStream) -> socket.socket:
    """Take a closing stream's socket away from it, in place of closing it."""
    sock = stream.socket
    stream.socket = None  # type: ignore[assignment]  # as close_fd leaves it
    return sock


def is_event_stream(handler: Any) -> bool:
    """Tell whether a handler's response is a stream of server-sent events, which never ends."""
    headers = getattr(handler, "_headers", None)
    kind = headers.get("Content-Type", "") if headers is not None else ""
    return str(kind).lower().startswith("text/event-stream")


def response_has_begun(request: HTTP1Connection) -> bool:
    """Tell whether the response's headers have left."""
    return request._response_start_line is not None  # noqa: SLF001


def response_is_whole(request: HTTP1Connection) -> bool:
    """Tell whether the handler has given the response to its end; the stream may still write it."""
    return request._write_finished  # noqa: SLF001


def close_after_response(request: HTTP1Connection) -> None:
    """End the connection after this response, and say so in it if its headers are still to come."""
    request._disconnect_on_finish = True  # noqa: SLF001
    start_line, headers = request._request_start_line, request._request_headers  # noqa: SLF001
    if start_line is not None and headers is not None and start_line.version == "HTTP/1.0":
        # Tornado would echo the client's wish and then close: an HTTP/1.0 client that is told
        # "keep-alive" sends its next request into the void.
        headers.pop("Connection", None)


@dataclass(frozen=True, slots=True)
class RouteMark:
    """Where it is noted whose step runs: a word of the worker's row."""

    words: memoryview[int] | list[int]
    route_at: int
    in_flight_at: int
    number_of: Callable[[RequestHandler], int]


_NOWHERE = RouteMark([0, 0], 0, 1, lambda _: 0)


def time_steps(
    limit_s: float,
    took_long: Callable[[RequestHandler, float], None],
    mark: RouteMark = _NOWHERE,
) -> None:
    """Call *took_long* whenever a handler runs for longer than *limit_s* between two awaits."""
    execute = RequestHandler._execute  # noqa: SLF001

    def timed(self: RequestHandler, *values: Any, **named: Any) -> Any:
        return _in_steps(execute(self, *values, **named), self, limit_s, took_long, mark)

    RequestHandler._execute = timed  # type: ignore[method-assign]  # noqa: SLF001


@types.coroutine
def _in_steps(
    coroutine: Coroutine[Any, Any, Any],
    handler: RequestHandler,
    limit_s: float,
    took_long: Callable[[RequestHandler, float], None],
    mark: RouteMark = _NOWHERE,
) -> Generator[Any, Any, Any]:
    """Drive a coroutine as ``await`` would, with a look at the clock at each step."""
    step: Callable[[Any], Any] = coroutine.send
    argument: Any = None
    words, route_at, in_flight_at = mark.words, mark.route_at, mark.in_flight_at
    number = mark.number_of(handler)
    while True:
        begun_last = words[route_at]
        words[route_at] = number
        begun_s = perf_counter()
        try:
            awaited = step(argument)
        except StopIteration as end:
            return end.value
        finally:
            spent_s = perf_counter() - begun_s
            words[route_at] = begun_last if words[in_flight_at] else 0
            if spent_s > limit_s:
                took_long(handler, spent_s)
        try:
            argument = yield awaited
            step = coroutine.send
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
            step, argument = coroutine.throw, error


def driven_by(frame: FrameType) -> object | None:
    """Return the coroutine that a frame of ``_in_steps`` drives; None: it is another frame."""
    if frame.f_code is not _in_steps.__code__:
        return None
    return frame.f_locals.get("coroutine")


def without_header_timeout(server: Any) -> None:
    """Take the timer off each request's headers: the beat looks after slow headers for all."""
    server.conn_params.header_timeout = None


def handler_class_of(delegate: HTTPMessageDelegate | None) -> type | None:
    """Return the class of the RequestHandler that a delegate leads to, if it leads to one."""
    return getattr(_innermost(delegate), "handler_class", None)


def handler_of(delegate: HTTPMessageDelegate | None) -> Any:
    """Return the RequestHandler that a delegate leads to, once it exists."""
    return getattr(_innermost(delegate), "handler", None)


def _innermost(delegate: HTTPMessageDelegate | None) -> object:
    seen: Any = delegate
    for _ in range(_LONGEST_DELEGATE_CHAIN):
        inner = getattr(seen, "delegate", None)
        if inner is None:
            break
        seen = inner
    return seen
