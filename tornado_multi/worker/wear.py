"""Limits after which a worker is replaced: requests, memory, age.

At its last request a worker says ``Connection: close`` and leaves what is queued to others, asks for
a successor, and drains when that is ready. If none comes in a moment it takes connections again: a
limit never costs a request. Runs in: worker, on its loop.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.settings.model import HealthSettings
    from tornado_multi.worker.accepting import Accepting
    from tornado_multi.worker.connections import Connections

PATIENCE_S = 2.0
"""How long a worn worker leaves connections in the queue; its successor takes some 20 ms."""
AGE_JITTER = 0.1
UNMEASURED_BEATS = 30
"""Memory is measured every 20 beats: after so many without a figure there will be none."""


class Wear:
    """Watches the limits of one worker."""

    def __init__(
        self,
        settings: HealthSettings,
        row: sb.Row,
        connections: Connections,
        accepting: Accepting,
        *,
        send: Callable[[msg.Worn], None],
        notice: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._row = row
        self._connections = connections
        self._accepting = accepting
        self._send = send
        self._notice = notice
        self._clock = clock
        self._is_worn = False
        self._most_bytes = settings.max_memory_bytes
        self._is_measured = False
        self._beats = 0
        jitter = random.randint(0, settings.max_requests_jitter)  # noqa: S311 - spreads, hides nothing
        limit = settings.max_requests
        self._most_requests = sys.maxsize if limit is None else limit + jitter
        age_s = settings.max_age_s
        spread = 1 + AGE_JITTER * random.random()  # noqa: S311 - as above
        self._old_at_s = None if age_s is None else clock() + age_s * spread
        connections.limit_requests(self._most_requests, self._served_enough)

    def _served_enough(self) -> None:
        """Take in that the last request within the limit has begun."""
        if not self._is_worn:
            self._accepting.hold(PATIENCE_S)
            self._wear_out(f"it has answered {self._most_requests} requests (max_requests)")

    def at_beat(self) -> None:
        """Look at age and memory."""
        if self._is_worn:
            return
        pss_bytes = self._row.load(sb.PSS_BYTES)
        if self._most_bytes is not None and not self._is_measured:
            self._look_at_first_figure(self._most_bytes, pss_bytes)
        if self._old_at_s is not None and self._clock() >= self._old_at_s:
            self._wear_out(f"it is older than {self._settings.max_age_s:g} s (max_age_s)")
        elif self._most_bytes is not None and pss_bytes > self._most_bytes:
            self._wear_out(f"it uses {pss_bytes} bytes of memory (max_memory_bytes)")

    def _look_at_first_figure(self, most_bytes: int, pss_bytes: int) -> None:
        """Give the limit of memory up if a successor would be above it too, or nobody can say."""
        self._beats += 1
        self._is_measured = pss_bytes > 0
        if pss_bytes > most_bytes:
            self._most_bytes = None
            text = (
                f"A new worker uses {pss_bytes} bytes of memory already, more than its limit of "
                f"{most_bytes} (max_memory_bytes). Another one would be no smaller, so such workers "
                "are not replaced for their memory; set a higher limit."
            )
            self._notice("max_memory_bytes", text)
        elif self._beats == UNMEASURED_BEATS and not self._is_measured:
            text = (
                "The system does not let a worker read how much memory it uses (PSS, in "
                "/proc/self/smaps), so that max_memory_bytes has no effect."
            )
            self._notice("max_memory_bytes unmeasured", text)

    def _wear_out(self, reason: str) -> None:
        self._is_worn = True
        self._send(msg.Worn(reason))
