"""The supervisor's side of the control socket.

Malformed, oversized, slow and too many clients get an error and a closed connection; nothing they
do reaches the supervisor but a decoded request. Runs in: supervisor, on its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from tornado_multi.control.protocol import (
    MAX_REQUEST_BYTES,
    PEER_CREDENTIALS,
    Request,
    RequestError,
    decode_request,
    encode_reply,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAX_CLIENTS = 64
REQUEST_TIMEOUT_S = 5.0
"""A client that hasn't sent its request line by then is let go."""
WRITE_TIMEOUT_S = 5.0

Reply = tuple[str, dict[str, "Any"]]


class ControlServer:
    """Answers clients with what *handler* yields for their request."""

    def __init__(
        self, sock: socket.socket, handler: Callable[[Request], AsyncIterator[Reply]]
    ) -> None:
        self._socket = sock
        self._handler = handler
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._accepted, sock=self._socket, limit=MAX_REQUEST_BYTES
        )

    async def close(self, grace_s: float = 1.0) -> None:
        """Stop listening, let clients take their last reply for *grace_s*, cut the rest."""
        if self._server is not None:
            self._server.close()
        if self._clients:
            _, late = await asyncio.wait(self._clients, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=grace_s)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of ours, not one that asyncio makes: Python 3.11 logs a traceback when its own is
        # cancelled before it began, which the end of the loop does (python/cpython#113538).
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._clients.discard(task)
            if task.cancelled():  # before it began, so that it has closed nothing
                writer.transport.abort()

        task.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the client left or dawdled; that is its own affair
        finally:
            await _close(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._clients) > MAX_CLIENTS:
                text = f"More than {MAX_CLIENTS} clients at once; try again."
                raise RequestError(text)
            _check_peer(writer)
            request = decode_request(await _read_line(reader))
        except RequestError as error:
            await _send(writer, "error", {"text": str(error)})
            return
        answering = asyncio.ensure_future(self._reply(request, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            # A client that has gone (Ctrl-C in a long command) must not hold its place.
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()

    async def _reply(self, request: Request, writer: asyncio.StreamWriter) -> None:
        replies = self._handler(request)
        async with contextlib.aclosing(replies):  # type: ignore[type-var]  # an async generator
            async for event, values in replies:
                await _send(writer, event, values)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Let the last reply leave, then close; a client that doesn't read is cut."""
    writer.close()
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.CancelledError):
        writer.transport.abort()


def _check_peer(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    _, uid, _ = PEER_CREDENTIALS.unpack(raw)
    if uid not in {0, os.getuid()}:
        text = f"Only root and uid {os.getuid()} may command this supervisor; you are uid {uid}."
        raise RequestError(text)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        text = f"The request is longer than {MAX_REQUEST_BYTES} bytes."
        raise RequestError(text) from error
    except asyncio.IncompleteReadError as error:
        text = "The request line does not end."
        raise RequestError(text) from error
    except TimeoutError as error:
        text = f"No request within {REQUEST_TIMEOUT_S:g} s."
        raise RequestError(text) from error


async def _send(writer: asyncio.StreamWriter, event: str, values: dict[str, Any]) -> None:
    writer.write(encode_reply(event, values))
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await writer.drain()
