"""A signal sent to the child is heard by the parent: both write to one wake-up socket."""

from __future__ import annotations

import asyncio
import os
import signal

HEARD: list[str] = []
LOOP = asyncio.new_event_loop()
LOOP.add_signal_handler(signal.SIGTERM, HEARD.append, "TERM")


def in_child(_index: int) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "survived"


def in_worker(_index: int) -> dict[str, object]:
    return {
        "default": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "wakeup_fd": signal.set_wakeup_fd(-1),
    }


def in_parent() -> list[str]:
    for _ in range(5):
        LOOP.run_until_complete(asyncio.sleep(0))
    return HEARD
