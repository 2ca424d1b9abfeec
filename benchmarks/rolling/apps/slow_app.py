"""The app of all rows: half a second to import, 20 ms for each request.

Runs in: instances, of every kind.
"""

from __future__ import annotations

import asyncio
import time

from tornado.web import Application, RequestHandler

IMPORT_S = 0.5
HANDLER_S = 0.02

# What a real app spends on its imports.
time.sleep(IMPORT_S)


class Slow(RequestHandler):
    """Answers with the method and the length of the body."""

    async def prepare(self) -> None:
        self.settings["busy"].add(self)

    def on_finish(self) -> None:
        self.settings["busy"].discard(self)

    async def get(self) -> None:
        await asyncio.sleep(HANDLER_S)
        # Tornado does not say so by itself; nginx closes the connection when it reads it.
        if self.settings["is_leaving"]:
            self.set_header("Connection", "close")
        self.write(f"{self.request.method} {len(self.request.body)}")

    post = get


def make_app() -> Application:
    """Return the app; the plain instance looks at its settings and changes them when it leaves."""
    return Application([("/", Slow)], busy=set(), is_leaving=False)
