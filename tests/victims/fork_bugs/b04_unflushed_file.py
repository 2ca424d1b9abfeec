"""A line that lies in a buffer at the fork is written by the child too."""

from __future__ import annotations

import os

PATH = os.path.join(os.environ["FORK_BUG_DIRECTORY"], "lines.txt")
FILE = open(PATH, "w")  # noqa: SIM115 - hazard: buffered-file
FILE.write("one line\n")
LEAVES_BY_EXIT = True


def in_child(_index: int) -> None:
    """Do nothing: the end does it."""


def in_parent() -> int:
    FILE.flush()
    with open(PATH) as file:
        return len(file.readlines())
