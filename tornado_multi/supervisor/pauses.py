"""How long to wait before a process is started again. Pure; see ``decide``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_multi.supervisor.state import Place

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 30.0
HEALTHY_AFTER_S = 60.0
"""A process that was ready this long starts with a clean record if it dies."""
KILLS_AT_ONCE = 10
KILLS_WINDOW_S = 60.0
"""So many kills from outside per fork_id in this time are answered at once, further ones slower."""
OUTSIDE_KILLS = frozenset({signal.SIGKILL, signal.SIGTERM})
"""Signals by which people, tests and the OOM killer end a process: no fault of the app's code."""


def backoff_s(failures: int) -> float:
    """Return the pause before the next start after *failures* failures in a row (>= 0)."""
    if failures <= 0:
        return 0.0
    return min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))


def count_kill(place: Place, now_s: float) -> None:
    """Replace a worker killed from outside at once, but not for ever without a pause.

    People and tests kill now and then; the OOM killer, or an app that kills itself, may do it each
    time it is ready.
    """
    if now_s - place.kills_since_s > KILLS_WINDOW_S:
        place.kills, place.kills_since_s = 0, now_s
    place.kills += 1
    if place.kills > KILLS_AT_ONCE:
        place.retry_at_s = now_s + BACKOFF_FIRST_S
