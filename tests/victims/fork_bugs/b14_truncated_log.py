"""Every process opens the log for writing, and what the others wrote is lost."""

from __future__ import annotations

import logging
import os

PATH = os.path.join(os.environ["FORK_BUG_DIRECTORY"], "shop.log")
HANDLER = logging.FileHandler(PATH, mode="w", delay=True)  # hazard: truncated-log
LOGGER = logging.getLogger("shop")
LOGGER.addHandler(HANDLER)
LOGGER.propagate = False
RECORDS = 1000


def in_child(index: int) -> None:
    for number in range(RECORDS):
        LOGGER.warning("child %d record %04d", index, number)


def in_worker(_index: int) -> None:
    """Nothing is opened before the fork: it is for ``check`` to find."""


def in_parent() -> int:
    with open(PATH) as file:
        return len(file.readlines())
