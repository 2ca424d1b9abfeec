"""The Tornado app under Tornado's own ``fork_processes``: the main program of its documentation."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from shop import make_app
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes

if TYPE_CHECKING:
    import socket


async def serve(sockets: list[socket.socket]) -> None:
    """Runs in: each worker."""
    server = HTTPServer(make_app())
    server.add_sockets(sockets)
    await asyncio.Event().wait()


def main() -> None:
    port, workers = map(int, sys.argv[1:])
    sockets = bind_sockets(port, "127.0.0.1")
    fork_processes(workers)
    asyncio.run(serve(sockets))


if __name__ == "__main__":
    main()
