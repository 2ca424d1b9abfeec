"""The end of a child deletes the parent's temporary directory."""

from __future__ import annotations

import gc
import os
import tempfile

PLACE = os.environ["FORK_BUG_DIRECTORY"]
HELD = [tempfile.TemporaryDirectory(dir=PLACE)]  # hazard: temporary-directory
NAME = HELD[0].name
LEAVES_BY_EXIT = True


def in_child(_index: int) -> None:
    """Do nothing: the end does it."""


def in_worker(_index: int) -> None:
    """Let go of it, which deletes it as surely as an end by sys.exit."""
    HELD.clear()
    gc.collect()


def in_parent() -> bool:
    return os.path.isdir(NAME)
