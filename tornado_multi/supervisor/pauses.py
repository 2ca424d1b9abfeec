"""How long to wait before a process is started again. Pure; see ``decide``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_multi.supervisor.state import Place

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 30.0
JITTER = 0.25
STEPS = (0.618034, 0.414214, 0.732051, 0.302776)
"""The golden mean and its like: multiples of each are spread evenly over [0, 1), however many."""
BUDGET_WINDOW_S = 60.0
HEALTHY_AFTER_S = 60.0
"""A process that was ready this long starts with a clean record if it dies."""
KILLS_AT_ONCE = 10
KILLS_WINDOW_S = 60.0
"""So many kills from outside per fork_id in this time are answered at once, further ones slower."""
OUTSIDE_KILLS = frozenset({signal.SIGKILL, signal.SIGTERM})
"""Signals by which people, tests and the OOM killer end a process: no fault of the app's code."""


def backoff_s(failures: int, fork_id: int = 0) -> float:
    """Return the pause before the next start after *failures* failures in a row (>= 0).

    With up to a quarter more, another one for each fork_id and failure, so that places which failed
    together don't try together for ever. (Not by chance: decisions are repeatable.)
    """
    if failures <= 0:
        return 0.0
    pause_s = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return pause_s * (1 + JITTER * _spread(fork_id, failures))


def _spread(fork_id: int, failures: int) -> float:
    """Return a number in [0, 1) that differs from fork_id to fork_id; 0 for the first."""
    return fork_id * STEPS[failures % len(STEPS)] % 1.0


def budget_free_at_s(respawns_s: list[float], per_min: int, now_s: float) -> float | None:
    """Return when another young death may cost a start; None: now.

    Args: respawns_s: when the last ones were; those older than a minute are taken out.
    """
    # As the time returned is reckoned: it must have passed when it has come.
    while respawns_s and respawns_s[0] + BUDGET_WINDOW_S <= now_s:
        del respawns_s[0]
    if len(respawns_s) < per_min:
        return None
    return respawns_s[-per_min] + BUDGET_WINDOW_S


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
