"""The Tornado app of the comparison, as a factory; ``gunicorn_shop`` and ``forked_shop`` use it too."""

from __future__ import annotations

import asyncio
import os

import faults
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

faults.at_import()


class Pid(RequestHandler):
    def get(self) -> None:
        self.write(str(os.getpid()))


class Upload(RequestHandler):
    def post(self) -> None:
        self.write(f"{len(self.request.body)} {os.getpid()}")


class Slow(RequestHandler):
    async def get(self) -> None:
        faults.mark("begun", str(os.getpid()))
        await asyncio.sleep(float(self.get_argument("s")))
        self.write("done")


class Block(RequestHandler):
    async def get(self) -> None:
        faults.mark("begun", str(os.getpid()))
        faults.block(float(self.get_argument("s")))
        self.write("done")


class Orphan(RequestHandler):
    def get(self) -> None:
        faults.leave_an_orphan()
        self.write("done")


class Socket(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app() -> Application:
    faults.at_worker_start()
    return Application(
        [
            ("/", Pid),
            ("/upload", Upload),
            ("/slow", Slow),
            ("/block", Block),
            ("/orphan", Orphan),
            ("/ws", Socket),
        ]
    )
