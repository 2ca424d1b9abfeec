"""An event loop made before the fork: the children share one epoll, which takes a listener once."""

from __future__ import annotations

import asyncio

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application

SOCKETS = bind_sockets(0, "127.0.0.1")
LOOP = asyncio.new_event_loop()  # hazard: event-loop
asyncio.set_event_loop(LOOP)
IOLoop.current()


def in_child(_index: int) -> str:
    server = HTTPServer(Application())
    server.add_sockets(SOCKETS)
    return "added"


def in_parent() -> None:
    """Nothing to see."""
