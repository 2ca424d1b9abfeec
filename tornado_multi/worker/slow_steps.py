"""Handlers that hold up the loop: each step of a handler is timed, long ones are counted.

A step is what a handler does between two awaits; meanwhile this worker answers nobody else.
Costs less than a microsecond per step. Runs in: worker, on its loop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.connections import Routes

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_HANDLERS = 200
"""Handler classes may be made at run time; further ones are not counted."""
MUCH_LONGER = 5
"""A step that took so many times as long as what was said before is said again."""


def _method(handler: Any) -> str:
    return str(getattr(getattr(handler, "request", None), "method", "?"))


class SlowSteps:
    """Counts per handler, and tells what has changed at each beat."""

    def __init__(
        self,
        limit_s: float,
        send: Callable[[msg.SlowSteps], None],
        notice: Callable[[str, str], None],
        waited_for_cpu_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._waited_for_cpu_s = waited_for_cpu_s
        self._waited_at_beat_s = waited_for_cpu_s()
        self._limit_s = limit_s
        self._send = send
        self._notice = notice
        self._counts: dict[str, tuple[int, float]] = {}
        """handler -> how often, and for how long at most in seconds"""
        self._changed: set[str] = set()
        self._said_s: dict[str, float] = {}
        """handler -> the longest step that was said"""

    def watch(self, row: sb.Row, routes: Routes) -> None:
        """Time the steps of all handlers from now on, and note in *row* whose step runs."""

        def number_of(handler: Any) -> int:
            return routes.number(_method(handler), type(handler))

        words, base = row.words, row.base
        mark = private.RouteMark(words, base + sb.ROUTE_ID, base + sb.IN_FLIGHT, number_of)
        private.time_steps(self._limit_s, self._took_long, mark)

    def at_beat(self) -> None:
        """Tell the supervisor what has changed."""
        self._waited_at_beat_s = self._waited_for_cpu_s()
        while self._changed:
            name = self._changed.pop()
            count, longest_s = self._counts[name]
            self._send(msg.SlowSteps(name, count, round(longest_s, 3)))

    def _took_long(self, handler: Any, spent_s: float) -> None:
        kind = type(handler)
        method = _method(handler)
        if method not in Routes.METHODS:
            method = "?"  # clients may send any word
        self.took(f"{method} {kind.__module__}.{kind.__qualname__}", spent_s)

    def took(self, name: str, spent_s: float) -> None:
        """Count a step of something, of a handler or not, if it took long."""
        if spent_s <= self._limit_s:
            return
        if name not in self._counts and len(self._counts) >= MOST_HANDLERS:
            return
        count, longest_s = self._counts.get(name, (0, 0.0))
        self._counts[name] = (count + 1, max(longest_s, spent_s))
        self._changed.add(name)
        if spent_s >= MUCH_LONGER * self._said_s.get(name, 0.0):
            self._said_s[name] = spent_s
            text = (
                f"{name} held up the event loop for {spent_s:.2f} s at a stretch; meanwhile its "
                "worker answered nobody else. The status counts such steps (slow_step_s)."
            )
            waited_s = min(spent_s, self._waited_for_cpu_s() - self._waited_at_beat_s)
            if waited_s >= spent_s / 2:
                text += (
                    f" For {waited_s:.2f} s of that it waited for a CPU: the machine has more to do "
                    "than it can, which is no fault of the handler."
                )
            # What one worker has said the others needn't, unless it was much worse there.
            size = int(math.log(spent_s / self._limit_s, MUCH_LONGER))
            self._notice(f"slow step {name} {size}", text)
