"""Quotes over websockets: an async factory starts what runs beside the requests, on the worker's
loop. Logging is set up at import by dictConfig, to standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging.config
from typing import ClassVar

from tornado.ioloop import PeriodicCallback
from tornado.locks import Lock
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"ticker": {"handlers": ["stderr"], "level": "INFO"}},
    }
)
logger = logging.getLogger("ticker")
TICK_MS = 50
LOCK = Lock()


class Quotes(WebSocketHandler):
    clients: ClassVar[set[Quotes]] = set()
    tick: ClassVar[int] = 0

    def open(self) -> None:
        self.clients.add(self)

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(json.dumps({"echo": str(message)}))

    def on_close(self) -> None:
        self.clients.discard(self)


async def tell_all() -> None:
    """Send the next quote to everybody."""
    async with LOCK:
        Quotes.tick += 1
        for client in tuple(Quotes.clients):
            try:
                await client.write_message(json.dumps({"tick": Quotes.tick}))
            except WebSocketClosedError:
                logger.info("a client left meanwhile")


async def make_app() -> Application:
    await asyncio.sleep(0)
    PeriodicCallback(tell_all, TICK_MS).start()
    return Application([("/quotes", Quotes)], websocket_ping_interval=30)
