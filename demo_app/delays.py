"""Two ways to be late: politely, while the loop serves others, and rudely, while nobody is served.

/block exists to show what a blocked event loop does to a worker. It is mounted in debug only.
"""

import asyncio
import time

from demo_app.handler import DemoHandler
from demo_app.identity import identity

DEFAULT_DELAY_S = 1.0
MAX_DELAY_S = 60.0


class DelayHandler(DemoHandler):
    """A handler that is asked for a number of seconds."""

    def delay_s(self) -> float:
        """Return ``?seconds=``, 0 to 60.

        Raises:
            RequestRefusedError: 400, not a number or out of range.
        """
        return self.query_number(
            "seconds", float, default=DEFAULT_DELAY_S, lowest=0.0, highest=MAX_DELAY_S
        )


class SlowHandler(DelayHandler):
    """GET /slow?seconds=S."""

    async def get(self) -> None:
        """Answer ``{"slept_s": float, "pid": int, "fork_id": int | null}``, late."""
        delay_s = self.delay_s()
        await asyncio.sleep(delay_s)
        self.write({"slept_s": delay_s, **identity()})


class BlockHandler(DelayHandler):
    """GET /block?seconds=S, in debug only."""

    def get(self) -> None:
        """Answer ``{"blocked_s": float, "pid": int, "fork_id": int | null}``, late.

        Blocks: the event loop of this worker, on purpose, for the whole time.
        """
        delay_s = self.delay_s()
        time.sleep(delay_s)
        self.write({"blocked_s": delay_s, **identity()})
