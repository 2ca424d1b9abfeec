"""A lock that a thread holds at the fork is never given back in the child, which has no such thread.

``MENDED`` is as bad, but made anew in each child.
"""

from __future__ import annotations

import os
import threading

LOCK = threading.Lock()  # hazard: held-lock
MENDED = threading.Lock()
os.register_at_fork(after_in_child=MENDED._at_fork_reinit)


def hold(taken: threading.Event) -> None:
    with LOCK, MENDED:
        taken.set()
        threading.Event().wait()


TAKEN = threading.Event()
HOLDER = threading.Thread(target=hold, args=(TAKEN,), name="holder", daemon=True)
HOLDER.start()  # hazard: thread
TAKEN.wait()


def in_child(_index: int) -> dict[str, object]:
    """Try both: what can't be had, while there is no other thread, would be awaited for ever."""
    return {
        "lock": LOCK.acquire(blocking=False),
        "mended": MENDED.acquire(blocking=False),
        "threads": len(os.listdir("/proc/self/task")),
    }


def in_parent() -> None:
    """Nothing to see."""
