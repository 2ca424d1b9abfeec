"""Waiting for facts. With ``tornado_multi.testing.waiting`` the only place that may sleep."""

from __future__ import annotations

import time

from tornado_multi.testing.waiting import wait_for as eventually

__all__ = ["eventually", "pause"]


def pause(seconds: float) -> None:
    """Let load clients breathe. Never to wait for something to have happened."""
    time.sleep(seconds)
