"""What is served: an app that says who answers, and the heavy app as people start it by hand.

As a program: serves the heavy app on the port given, one process, nothing else.
"""

from __future__ import annotations

import asyncio
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


async def serve(port: int) -> None:
    """Serve the heavy app for ever."""
    import heavy_app

    HTTPServer(heavy_app.make_app()).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
