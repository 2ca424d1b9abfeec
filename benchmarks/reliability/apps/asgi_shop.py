"""What ``shop`` does, as a bare ASGI app: the same paths, the same answers, no framework."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

faults.at_import()


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one lifespan, request or websocket."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        body = (await _answer(scope, receive)).encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
        faults.at_worker_start()


async def _answer(scope: dict[str, Any], receive: Receive) -> str:
    seconds = float(parse_qs(scope["query_string"].decode()).get("s", ["0"])[0])
    path = scope["path"]
    if path == "/upload":
        return f"{await _body_bytes(receive)} {os.getpid()}"
    if path == "/slow":
        faults.mark("begun", str(os.getpid()))
        await asyncio.sleep(seconds)
    elif path == "/block":
        faults.mark("begun", str(os.getpid()))
        faults.block(seconds)
    elif path == "/orphan":
        faults.leave_an_orphan()
    else:
        return str(os.getpid())
    return "done"


async def _body_bytes(receive: Receive) -> int:
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    return count


async def _echo(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            reply = {key: message.get(key) for key in ("text", "bytes")}
            await send({"type": "websocket.send", **reply})
