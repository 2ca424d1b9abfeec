"""One request on one connection, sorted by what became of it.

The point of it is the difference that load generators don't make: a connection that was closed while
nothing was under way has lost nothing, one that ends after a request was sent has lost that request.
Runs in: the bench, in the threads of its clients.
"""

from __future__ import annotations

import http.client
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class NotSentError(Exception):
    """Not one byte of the request has left: another connection may carry it."""


@dataclass(frozen=True)
class Answer:
    """What became of a request that was sent."""

    kind: str
    """success, lost, timeout, wrong body, garbled, or another status than 200, as a number."""
    keeps: bool = False
    """The connection may be used again."""
    tries: str = ""
    """The header X-Tries of our nginx."""


def exchange(connection: socket.socket, request: bytes, right_body: bytes) -> Answer:
    """Send one request and read its answer.

    Args: request: whole, with its method first.
    Raises: NotSentError: the connection was closed, or refused the first byte.
    """
    if _is_closed(connection):
        raise NotSentError("idle closed")
    try:
        sent = connection.send(request)
    except OSError as error:
        raise NotSentError("idle closed") from error
    try:
        connection.sendall(request[sent:])
        with _response(connection, request) as response:
            body = response.read()
    except TimeoutError:
        return Answer("timeout")
    except (OSError, http.client.RemoteDisconnected, http.client.IncompleteRead):
        return Answer("lost")
    except http.client.HTTPException:
        return Answer("garbled")
    tries = response.headers.get("X-Tries", "")
    keeps = not response.will_close
    if response.status != 200:
        return Answer(str(response.status), keeps, tries)
    return Answer("success" if body == right_body else "wrong body", keeps, tries)


def _response(connection: socket.socket, request: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection, method=request.split(b" ", 1)[0].decode())
    response.begin()
    return response


def _is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has ended it, or said something that nobody had asked for."""
    # No recv with MSG_DONTWAIT: with a timeout set, Python waits for something to read before it.
    idle = select.poll()
    idle.register(connection, select.POLLIN)
    return bool(idle.poll(0))
