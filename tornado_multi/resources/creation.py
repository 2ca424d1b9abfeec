"""One attempt to create one resource: who waits for it, and which circles cannot end.

All callers that come while it is under way share its outcome. Runs in: any process.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tornado_multi.resources import lives

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from tornado_multi.resources.lives import Holder, Life


class InterruptedCreationError(Exception):
    """The thread or task that created was stopped: whoever waited for it may try for himself."""


class Creation:
    """One factory under way."""

    def __init__(
        self,
        holder: Holder,
        name: str,
        life: Life,
        site: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.holder = holder
        self.name = name
        self.life = life
        self.site = site
        self.loop = loop
        self.thread_id = threading.get_ident()
        self.task: asyncio.Task[None] | None = None
        """Kept here, because a loop keeps no task alive."""
        self.waits_for: set[Creation] = set()
        self.outcome: Future[Any] = Future()
        # As running, so that a waiter's cancellation cannot reach it.
        self.outcome.set_running_or_notify_cancel()

    def is_under_way(self) -> bool:
        """Tell whether its factory runs in this process; one that a fork cut off does not."""
        return self.life is lives.current and not self.outcome.done()


_chain: ContextVar[tuple[Creation, ...]] = ContextVar("tornado_multi_creations", default=())
"""The creations in whose factories the current code runs, outermost first."""


def creating() -> str | None:
    """Return the name of the resource whose factory runs here, in this thread or task.

    None: no factory does. Tasks that a factory starts count while it has not ended.
    Runs in: any process. Blocks: never.
    """
    for creation in reversed(_chain.get()):
        if creation.is_under_way():
            return creation.name
    return None


@contextmanager
def within(creation: Creation) -> Iterator[None]:
    """Count the block as part of a creation."""
    token = _chain.set((*_chain.get(), creation))
    try:
        yield
    finally:
        _chain.reset(token)


def wait_for(creation: Creation, *, blocks: bool) -> Creation | None:
    """Note that the current code is about to wait for a creation. The caller holds the mutex.

    Args: blocks: the wait stops the whole thread.
    Returns: the creation that has to wait, for ``waited``; None if nothing is created here.
    Raises: RuntimeError: the wait would never end.
    """
    waiting = [item for item in _chain.get() if item.is_under_way()]
    circle = _way(creation, set(waiting), set())
    if circle is not None:
        circle += waiting[waiting.index(circle[-1]) + 1 :]
    elif blocks and creation.thread_id == threading.get_ident() and creation.is_under_way():
        circle = [creation]  # a signal handler or a finalizer, in the midst of the factory
    if circle is not None:
        names = " -> ".join(item.name for item in [*circle, creation])
        text = (
            f"The resource {creation.name} is needed for its own creation: {names}. A factory, and "
            "the tasks that it starts, must not ask for what is there only when it has returned."
        )
        raise RuntimeError(text)
    if not waiting:
        return None
    waiting[-1].waits_for.add(creation)
    return waiting[-1]


def waited(waiting: Creation | None, creation: Creation) -> None:
    """Note that the wait is over."""
    if waiting is not None:
        with waiting.life.mutex:
            waiting.waits_for.discard(creation)


def _way(start: Creation, ends: set[Creation], seen: set[Creation]) -> list[Creation] | None:
    """Return the creations from *start* to one of *ends*, each waiting for the next."""
    if start in ends:
        return [start]
    seen.add(start)
    for following in start.waits_for:
        if following not in seen and following.is_under_way():
            way = _way(following, ends, seen)
            if way is not None:
                return [start, *way]
    return None
