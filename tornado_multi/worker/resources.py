"""The resources of a worker: told to the supervisor, asked for their health, closed at the end.

Runs in: worker, on its loop (its watcher on any thread).
"""

from __future__ import annotations

import contextlib
import random
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tornado_multi.process import messages as msg
from tornado_multi.process.time_limits import TimeLimitError, time_limit
from tornado_multi.resources import lives
from tornado_multi.resources.closing import CLOSE_TIMEOUT_S, close_all
from tornado_multi.resources.health import ask, report

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tornado_multi.resources.closing import Limit
    from tornado_multi.resources.lives import Created

HEALTH_INTERVAL_S = 10.0
HEALTH_TIMEOUT_S = 2.0
GRACE_S = 1.5
"""For closing when the drain has used up its time: less than the supervisor waits before it kills."""


class WorkerResources:
    """What of this process's life concerns the supervisor."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[msg.Message], None],
        took: Callable[[str, float], None],
    ) -> None:
        self._loop = loop
        self._send = send
        self._took = took
        """Hears what held up the loop, and for how many seconds."""
        self._told: list[dict[str, Any]] = []
        self._due_s: dict[Created, float] = {}
        """When each resource that has a check is asked next."""
        self._asking: dict[Created, asyncio.Task[None]] = {}
        self._is_closing = False
        lives.current.watchers.append(self._changed)
        self._changed()

    def at_beat(self) -> None:
        """Ask whose turn it is: each every 10 s, soon after its creation for the first time."""
        if self._is_closing:
            return
        now_s = self._loop.time()
        checked = [item for item in lives.current.created if item.check is not None]
        self._due_s = {item: self._due_s.get(item, now_s) for item in checked}
        for created, due_s in self._due_s.items():
            if due_s <= now_s and created not in self._asking:
                # Spread, or all workers would ask a database in the same moment for ever.
                spread_s = random.uniform(0.9, 1.1) * HEALTH_INTERVAL_S  # noqa: S311
                self._due_s[created] = now_s + spread_s
                name = f"tornado_multi health {created.name}"
                self._asking[created] = self._loop.create_task(self._ask(created), name=name)

    async def close(self, left_s: float) -> None:
        """Close all. The drain has *left_s* of its time left."""
        self._is_closing = True
        for task in self._asking.values():
            task.cancel()
        await close_all(min(CLOSE_TIMEOUT_S, max(0.0, left_s) + GRACE_S), _limit)

    async def _ask(self, created: Created) -> None:
        try:
            created.health = await ask(created, HEALTH_TIMEOUT_S, self._limit_of(created))
        finally:
            del self._asking[created]
        self._tell()

    def _limit_of(self, created: Created) -> Limit:
        @contextlib.contextmanager
        def limit(seconds: float) -> Iterator[None]:
            begun_s = perf_counter()
            try:
                with _limit(seconds):
                    yield
            finally:
                self._took(f"The health check of {created.name}", perf_counter() - begun_s)

        return limit

    def _changed(self) -> None:
        with contextlib.suppress(RuntimeError):  # a loop that is closed: a script runs another one
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        now = report()
        if now != self._told:
            self._told = now
            self._send(msg.Resources(tuple(now)))


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Interrupt the block by SIGALRM, as hooks are.

    Raises: TimeoutError: *seconds* have passed.
    """
    try:
        with time_limit(seconds):
            yield
    except TimeLimitError as error:
        raise TimeoutError from error
