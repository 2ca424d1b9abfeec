"""The one place in the tests that may sleep: waiting for facts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(
    probe: Callable[[], T], *, within_s: float = 15.0, every_s: float = 0.01, about: str = ""
) -> T:
    """Return the first truthy value of *probe*; fail with the last one after *within_s*."""
    deadline_s = time.monotonic() + within_s
    while not (seen := probe()):
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"not true within {within_s} s: {about} last seen: {seen!r}")
        time.sleep(every_s)
    return seen


def pause(seconds: float) -> None:
    """Let load clients breathe. Never to wait for something to have happened."""
    time.sleep(seconds)
