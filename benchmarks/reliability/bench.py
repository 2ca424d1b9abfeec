"""What a driver has to work with: its system, started and ended around what it does, and a clock.

Runs in: the comparison.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.waiting import eventually

from benchmarks.reliability.running import Service, free_port
from benchmarks.reliability.systems import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.reliability.systems import System


@dataclass(frozen=True)
class Bench:
    """What a driver needs to start its system."""

    system: System
    python: str

    @contextlib.contextmanager
    def running(
        self,
        workers: int = 2,
        *,
        worker_timeout_s: int | None = None,
        max_requests: int | None = None,
        is_plain: bool = False,
        subreaper: bool = False,
    ) -> Iterator[Service]:
        """A service that is ready; at the end nothing of it is left."""
        with tempfile.TemporaryDirectory(prefix="reliability-") as directory:
            wish = Wish(
                free_port(),
                directory,
                max(workers, self.system.min_workers),
                worker_timeout_s,
                max_requests,
                is_plain,
            )
            service = Service(self.system, wish, self.python, subreaper=subreaper)
            try:
                yield service.wait_ready()
            finally:
                service.close()


def seconds_until(condition: Callable[[], bool], within_s: float) -> float | None:
    """Return how long it took until *condition* was true, or None if it did not become so."""
    begun_s = time.monotonic()
    try:
        eventually(condition, within_s=within_s)
    except AssertionError:
        return None
    return time.monotonic() - begun_s
