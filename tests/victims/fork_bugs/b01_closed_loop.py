"""A child closes an event loop that was made before the fork, and the parent's never wakes."""

from __future__ import annotations

import asyncio
import time

GUARD_S = 1.0
"""A timer that ends a wait in vain."""

LOOP = asyncio.new_event_loop()  # hazard: event-loop


def in_child(_index: int) -> None:
    LOOP.close()


def in_parent() -> float:
    """Return how long the loop sleeps although it has been called from another thread."""
    LOOP._write_to_self()  # all that call_soon_threadsafe does beside queueing
    begun_s = time.monotonic()
    LOOP._selector.select(GUARD_S)
    return time.monotonic() - begun_s
