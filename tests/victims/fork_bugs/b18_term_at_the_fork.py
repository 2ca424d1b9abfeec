"""TERM reaches a child before it has handlers of its own: the parent's handler runs in it.

A file ``armed-1`` makes the next forked process send itself TERM, at the earliest moment at which
Python code runs in it, and so on.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

DIRECTORY = os.environ["FORK_BUG_DIRECTORY"]
PARENT = os.getpid()


def on_term(_number: int, _frame: FrameType | None) -> None:
    """Do what is meant for the parent."""
    with open(os.path.join(DIRECTORY, "handled"), "a") as file:
        file.write("by the parent\n" if os.getpid() == PARENT else "by a child\n")


def send_term() -> None:
    for number in range(1, 5):
        path = os.path.join(DIRECTORY, f"armed-{number}")
        if os.path.exists(path):
            os.unlink(path)
            os.kill(os.getpid(), signal.SIGTERM)
            return


signal.signal(signal.SIGTERM, on_term)
os.register_at_fork(after_in_child=send_term)


def in_child(_index: int) -> str:
    return "survived"


def in_parent() -> None:
    """Nothing to see."""
