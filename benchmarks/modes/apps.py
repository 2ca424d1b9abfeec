"""What is served: a small app that says who answers.

As a program, ``python -m modes.apps MODULE:FACTORY PORT``: one process, as people start it by hand.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

SLOWLY_S = 0.02


class Who(RequestHandler):
    """Says which process answers; a POST does so after 20 ms, and so does a GET that asks for it."""

    async def get(self) -> None:
        if self.get_argument("slowly", ""):
            await asyncio.sleep(SLOWLY_S)
        self.write(f"pid={os.getpid()};")

    async def post(self) -> None:
        await self.get()


def make_app() -> Application:
    return Application([("/", Who)])


async def serve(app: str, port: int) -> None:
    """Serve for ever."""
    module, _, factory = app.partition(":")
    made = getattr(importlib.import_module(module), factory)()
    HTTPServer(made).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
