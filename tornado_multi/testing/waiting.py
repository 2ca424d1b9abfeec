"""Waiting for facts: the one place of the package for tests that sleeps. Runs in: tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from tornado_multi.testing.errors import HIDE_OUR_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable

__tracebackhide__ = HIDE_OUR_FRAMES
T = TypeVar("T")
LAST_LINES = 30
"""What an error shows of a log; the report of the test has more."""


def wait_for(
    condition: Callable[[], T],
    *,
    within_s: float = 15.0,
    every_s: float = 0.01,
    about: str = "",
    log: Callable[[], str] | None = None,
) -> T:
    """Return the first truthy value of *condition*. An error that it raises is not caught.

    Args:
        about: what is waited for, for the error's text.
        log: returns the log of the service; its end is shown in the error.
    Raises: AssertionError: it was not true within *within_s*; says what was seen last.
    """
    deadline_s = time.monotonic() + within_s
    while not (seen := condition()):
        if time.monotonic() >= deadline_s:
            raise AssertionError(_sentence(within_s, about, seen, log() if log else ""))
        time.sleep(every_s)
    return seen


def _sentence(within_s: float, about: str, seen: object, log: str) -> str:
    text = f"not true within {within_s:g} s: {about + '; ' if about else ''}last seen: {seen!r}"
    lines = log.splitlines()[-LAST_LINES:]
    return "\n".join([text, "the log of the service ends with:", *lines]) if lines else text
