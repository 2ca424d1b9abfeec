"""How the app's own code learns that its worker is leaving."""

from __future__ import annotations

import asyncio

_drain_began = asyncio.Event()
"""Bound to no loop before somebody waits (Python 3.10 and later)."""


async def draining() -> None:
    """Return when this worker begins to drain; at once if it has begun.

    For handlers that stream without end: wait for the next event or for this, whichever is first,
    then finish the response. Outside a worker it never returns.
    Runs in: worker, on its loop.
    """
    await _drain_began.wait()


def say_drain_began() -> None:
    """Wake all who wait in ``draining``. Runs in: worker, on its loop, once."""
    _drain_began.set()
