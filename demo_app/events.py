"""Server-sent events: one tick per interval, for a while or for ever.

Source: WHATWG HTML Living Standard, section "Server-sent events".
"""

import asyncio
import itertools

from tornado.escape import json_encode
from tornado.iostream import StreamClosedError

from demo_app.handler import DemoHandler
from demo_app.identity import identity

DEFAULT_INTERVAL_MS = 1_000
MIN_INTERVAL_MS = 10
MAX_INTERVAL_MS = 60_000
MAX_COUNT = 1_000_000

ENDLESS = 0
"""Stands for a count that was not asked for; a client cannot ask for it by number."""


def render_event(number: int, data: str) -> str:
    r"""Render one event of the type "tick".

    Args:
        number: the id of the event, from 1.
        data: one line, without ``\r`` or ``\n``.
    """
    return f"id: {number}\nevent: tick\ndata: {data}\n\n"


class EventsHandler(DemoHandler):
    """GET /events?interval_ms=1000&count=10."""

    def initialize(self) -> None:
        """Begin with a client that is there and a worker that stays."""
        self.over = asyncio.Event()

    def on_connection_close(self) -> None:
        """Wake the stream, which then ends."""
        super().on_connection_close()
        self.over.set()

    def on_drain(self) -> None:
        """End the stream properly when the worker leaves; the browser connects again by itself."""
        self.over.set()

    async def get(self) -> None:
        """Stream ticks until *count* were sent, the client has left or the worker leaves.

        The first tick comes at once. Its data is JSON:
        ``{"number": int, "pid": int, "fork_id": int | null}``.
        """
        interval_ms = self.query_number(
            "interval_ms",
            int,
            default=DEFAULT_INTERVAL_MS,
            lowest=MIN_INTERVAL_MS,
            highest=MAX_INTERVAL_MS,
        )
        count = self.query_number("count", int, default=ENDLESS, lowest=1, highest=MAX_COUNT)
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx passes each event on at once
        numbers = itertools.count(1) if count == ENDLESS else range(1, count + 1)
        for number in numbers:
            if number > 1 and await self._is_over_within(interval_ms / 1000):
                return
            self.write(render_event(number, json_encode({"number": number, **identity()})))
            try:
                await self.flush()
            except StreamClosedError:
                return

    async def _is_over_within(self, wait_s: float) -> bool:
        """Wait for *wait_s*, or shorter if the stream is to end; tell whether it is."""
        try:
            async with asyncio.timeout(wait_s):
                await self.over.wait()
        except TimeoutError:
            return False
        return True
