"""The canary's question to itself: does the app answer its health path? Runs in: worker."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from tornado.iostream import IOStream

if TYPE_CHECKING:
    from tornado.httpserver import HTTPServer


class ProbeError(Exception):
    """The health path did not answer as it should; a full sentence."""


async def probe(server: HTTPServer, path: str) -> None:
    """Send one GET through the server and the app, without a listener: nobody else gets there.

    Raises: ProbeError: no answer, or none of 2xx.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    server.handle_stream(IOStream(theirs), ("", 0))
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        line = (await reader.readline()).decode("latin1").strip()
        await reader.read()
    finally:
        writer.close()
    words = line.split(" ", 2)
    if len(words) < 2 or not words[1].startswith("2"):
        text = f"The health path {path} answered {line or 'nothing'!r} in the first new worker."
        raise ProbeError(text)
