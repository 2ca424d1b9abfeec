"""A chat among the clients of this worker, over websockets.

A client sends plain text. It receives JSON, one object per event of the room, its own included:
``{"kind": "joined" | "said" | "left", "text": str, "clients": int, "pid": int,
"fork_id": int | null}``.

Must not know: the other workers. Clients of different workers do not hear each other.
"""

import asyncio
import logging
from typing import Literal

from tornado.escape import json_encode
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from demo_app.identity import identity

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 * 1024
"""A longer message ends the connection with 1009, by Tornado."""

MAX_UNDELIVERED = 200
"""Messages that wait for one client to read; one more and the client is let go with 1013.

Without a limit, one client that stopped reading would hold every later message in memory.
"""

# Status codes of RFC 6455 section 7.4.1, and of the IANA registry it founded (1013).
UNSUPPORTED_DATA = 1003
TRY_AGAIN_LATER = 1013


class ChatRoom:
    """The clients that are connected to this worker."""

    def __init__(self) -> None:
        """Start empty."""
        self._clients: set[ChatHandler] = set()

    def join(self, client: "ChatHandler") -> None:
        """Add *client* and tell everybody, itself included."""
        self._clients.add(client)
        self.tell("joined")

    def leave(self, client: "ChatHandler") -> None:
        """Drop *client* and tell the rest; nothing happens when it has left before."""
        if client in self._clients:
            self._clients.remove(client)
            self.tell("left")

    def tell(self, kind: Literal["joined", "said", "left"], text: str = "") -> None:
        """Send one event to every client, in the order of the calls. Never waits for a client."""
        event = {"kind": kind, "text": text, "clients": len(self._clients), **identity()}
        message = json_encode(event)
        for client in tuple(self._clients):
            client.deliver(message)


class ChatHandler(WebSocketHandler):
    """GET /chat, upgraded. Other origins are refused by Tornado's own check."""

    def initialize(self, room: ChatRoom) -> None:
        """Take the room from the route."""
        self.room = room
        self.undelivered = 0

    def open(self) -> None:
        """Enter the room."""
        self.room.join(self)

    async def on_message(self, message: str | bytes) -> None:
        """Repeat a text to the room; a binary message ends the connection."""
        if isinstance(message, bytes):
            self.close(UNSUPPORTED_DATA, "text messages only")
            return
        self.room.tell("said", message)
        # Frames that came together are handed over without a pause. One turn of the loop for each
        # lets the deliveries run, so that MAX_UNDELIVERED counts slow readers, not busy writers.
        await asyncio.sleep(0)

    def on_close(self) -> None:
        """Leave the room, whoever ended the connection."""
        self.room.leave(self)

    def deliver(self, message: str) -> None:
        """Send *message* without waiting, or let this client go if it reads too slowly."""
        if self.undelivered >= MAX_UNDELIVERED:
            logger.info("a chat client left %d messages unread; closing it", self.undelivered)
            self.close(TRY_AGAIN_LATER, "reading too slowly")
            self.room.leave(self)
            return
        self.undelivered += 1
        IOLoop.current().add_callback(self._write, message)

    async def _write(self, message: str) -> None:
        """Write *message* and wait until the kernel has it."""
        try:
            await self.write_message(message)
        except WebSocketClosedError:
            pass  # It is on its way out of the room: on_close follows.
        finally:
            self.undelivered -= 1
