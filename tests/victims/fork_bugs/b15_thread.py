"""A thread runs at the fork; Python's warning, if any, is hidden: the fork is in a library."""

from __future__ import annotations

import threading

POLLER = threading.Thread(target=threading.Event().wait, name="poller", daemon=True)
POLLER.start()  # hazard: thread


def in_child(_index: int) -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def in_parent() -> list[str]:
    return [thread.name for thread in threading.enumerate()]
