"""The heartbeat: written by the event loop itself, so that a blocked loop stops beating.

With it go the figures that only the worker can measure: lag, CPU time, memory.
Runs in: worker, on its loop.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import psutil

from tornado_multi.process import scoreboard as sb

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

INTERVAL_S = 0.5
MEMORY_INTERVAL_S = 10.0
"""PSS costs a walk over the page tables, a millisecond or more for a large process."""
NS_PER_S = 1_000_000_000


class Beat:
    """Beats until the loop ends; *also* runs at each beat."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, row: sb.Row, also: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._row = row
        self._also = also
        self._process = psutil.Process()
        self._due_s = loop.time()
        # Spread, or all workers of a service would walk their page tables at the same moment.
        self._memory_due_s = self._due_s + random.uniform(0, MEMORY_INTERVAL_S)  # noqa: S311

    def start(self, *, is_limited: bool) -> None:
        """Beat now, and from now on; memory is measured as soon as the loop has nothing better.

        Args: is_limited: memory has a limit: it is measured now, before the first request adds to it.
        """
        self._due_s = self._loop.time()
        if is_limited:
            self._measure_memory()
        else:
            self._loop.call_soon(self._measure_memory)
        self._beat()

    def _beat(self) -> None:
        now_s = self._loop.time()
        row = self._row
        row.store(sb.LAG_NS, max(0, int((now_s - self._due_s) * NS_PER_S)))
        row.store(sb.CPU_NS, time.process_time_ns())
        row.store(sb.BEAT_NS, time.monotonic_ns())
        if now_s >= self._memory_due_s:
            self._memory_due_s = now_s + MEMORY_INTERVAL_S
            self._measure_memory()
        self._due_s = self._loop.time() + INTERVAL_S
        self._loop.call_at(self._due_s, self._beat)
        self._also()

    def _measure_memory(self) -> None:
        try:
            memory = self._process.memory_full_info()
        except (OSError, psutil.Error):
            return  # hidden by the system: the figures stay unknown
        self._row.store(sb.PSS_BYTES, memory.pss)
        self._row.store(sb.RSS_BYTES, memory.rss)
