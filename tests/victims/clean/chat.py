"""A chat by long polling, as in Tornado's own demos: the Application is built at import."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

from tornado.options import define, options
from tornado.web import Application, RequestHandler

logger = logging.getLogger(__name__)
define("chat_history", default=200, type=int, help="messages that are kept")


class MessageBuffer:
    """The last messages, and who waits for the next."""

    def __init__(self) -> None:
        self.condition = asyncio.Condition()
        self.messages: list[dict[str, str]] = []

    def since(self, cursor: str | None) -> list[dict[str, str]]:
        """Return the messages after one that the client has."""
        found = []
        for message in reversed(self.messages):
            if message["id"] == cursor:
                break
            found.append(message)
        return found[::-1]

    async def add(self, message: dict[str, str]) -> None:
        self.messages.append(message)
        del self.messages[: -options.chat_history]
        async with self.condition:
            self.condition.notify_all()


BUFFER = MessageBuffer()


class NewMessage(RequestHandler):
    async def post(self) -> None:
        message = {"id": str(uuid.uuid4()), "body": self.get_argument("body")}
        logger.info("a message of %d characters", len(message["body"]))
        await BUFFER.add(message)
        self.write(message)


class Updates(RequestHandler):
    waiting: asyncio.Task[Any] | None = None

    async def get(self) -> None:
        messages = BUFFER.since(self.get_argument("cursor", None))
        if not messages:
            self.waiting = asyncio.ensure_future(self.next_message())
            await self.waiting
            messages = BUFFER.since(self.get_argument("cursor", None))
        self.write({"messages": messages})

    async def next_message(self) -> None:
        async with BUFFER.condition:
            await BUFFER.condition.wait()

    def on_connection_close(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()


app = Application([("/new", NewMessage), ("/updates", Updates)])
