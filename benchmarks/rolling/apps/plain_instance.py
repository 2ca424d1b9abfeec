"""One plain Tornado process, as people run several of them behind nginx.

Usage: plain_instance.py naive|graceful|'graceful, idle cut' PORT|PATH|fd:NUMBER

It prints "ready" when it accepts. Runs in: an instance.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import TYPE_CHECKING

from slow_app import make_app
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.web import Application

LINGER_S = 0.5
"""How long idle connections stay, so that a request on its way is answered."""
LOOK_S = 0.01


def listeners(where: str) -> list[socket.socket]:
    """Return the sockets to accept at: bound here, or inherited."""
    if where.startswith("fd:"):
        inherited = socket.socket(fileno=int(where.removeprefix("fd:")))
        inherited.setblocking(False)
        return [inherited]
    if "/" in where:
        return [bind_unix_socket(where)]
    return bind_sockets(int(where), "127.0.0.1")


async def main() -> None:
    flavour, where = sys.argv[1:]
    app = make_app()
    server = HTTPServer(app)
    server.add_sockets(listeners(where))
    told_to_leave = asyncio.Event()
    if flavour != "naive":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_leave.set)
    print("ready", flush=True)
    await told_to_leave.wait()
    await leave(server, app, 0 if flavour.endswith("idle cut") else LINGER_S)


async def leave(server: HTTPServer, app: Application, linger_s: float) -> None:
    """Stop accepting, let idle connections stay for *linger_s*, finish what is in progress."""
    server.stop()
    app.settings["is_leaving"] = True
    # Tornado tells nobody which connections it has, or which are idle.
    connections = server._connections  # noqa: SLF001
    await _until(lambda: not connections, linger_s)
    busy = {handler.request.connection.stream for handler in app.settings["busy"]}
    for connection in list(connections):
        if connection.stream not in busy:
            connection.stream.close()
    await _until(lambda: not app.settings["busy"], 10)
    await server.close_all_connections()


async def _until(condition: Callable[[], bool], within_s: float) -> None:
    deadline_s = asyncio.get_running_loop().time() + within_s
    # Tornado has no event for either condition.
    while not condition() and asyncio.get_running_loop().time() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    asyncio.run(main())
