"""The life of this process, from its start or the fork that made it: what was created in it.

Rule 1: what exists belongs to one life. A forked child begins a new, empty one.
Rule 2: what a child inherits is set aside: not used, not closed, and never collected, because a
``close`` or ``__del__`` in the child would end the session of its parent.
Rule 3: the child waits for nothing that was under way at the fork; each life has a mutex of its own.
Runs in: any process.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tornado_multi.process.linux import keep_for_ever

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tornado_multi.resources.creation import Creation


class Holder(Protocol):
    """The accessor of one resource, as a life knows it."""

    def forget(self, created: Created | None) -> None:
        """Let go of what was created (None: of whatever there is): the next use creates anew."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the last check of a resource went."""

    is_good: bool
    text: str


@dataclass(slots=True, eq=False)
class Created:
    """One resource that exists in this process."""

    holder: Holder
    name: str
    obj: Any
    shown: Any
    """What the accessor returns: the object itself, or its guard."""
    close: Callable[[], object] | None
    check: Callable[[], object] | None
    site: str
    """``file:line`` that asked for it first."""
    loop: asyncio.AbstractEventLoop | None
    """The loop that it belongs to; None: to none (its factory is sync)."""
    created_unix_s: float = field(default_factory=time.time)
    health: Health | None = None


class Life:
    """What belongs to this process since its last fork."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.pid = os.getpid()
        self.mutex = threading.RLock()
        """Held for a few assignments at a time. Reentrant, because a signal handler or a finalizer of
        the app may come in between."""
        self.created: list[Created] = []
        """In the order in which their creation ended."""
        self.creations: set[Creation] = set()
        self.watchers: list[Callable[[], None]] = []
        """Called after each change of ``created``, on whatever thread made it."""
        self.closes_at_exit = False

    def add(self, created: Created) -> None:
        """Take in a new resource. The caller holds the mutex and calls ``changed`` later."""
        self.created.append(created)

    def take_last(self) -> Created | None:
        """Take out the resource that was created last, for its end."""
        with self.mutex:
            if not self.created:
                return None
            created = self.created.pop()
            created.holder.forget(created)
        self.changed()
        return created

    def drop(self, created: Created) -> None:
        """Take out a resource without closing it."""
        with self.mutex:
            if created in self.created:
                self.created.remove(created)
            created.holder.forget(created)
        self.changed()

    def changed(self) -> None:
        """Tell those who watch."""
        for watcher in list(self.watchers):
            watcher()


current = Life(0)
set_aside: list[Life] = []
"""The lives of this process's ancestors that had resources, as inherited."""
_is_watching = False


def watch_forks() -> None:
    """Begin a new life in each child that is forked from now on. Does its work once."""
    global current, _is_watching  # noqa: PLW0603 - a process has one life
    if _is_watching:
        return
    _is_watching = True
    current = Life(current.epoch)  # a fork before this call went unnoticed
    keep_for_ever(None)  # what this call loads must not have to be loaded in a child
    os.register_at_fork(after_in_child=_begin_anew)


def epoch() -> int:
    """Return how many forks lie between this process and the one that first declared a resource."""
    return current.epoch


def _begin_anew() -> None:
    """Begin the life of a forked child. Logs nothing, imports nothing, waits for nothing."""
    global current
    before, current = current, Life(current.epoch + 1)
    before.mutex = threading.RLock()  # a thread that does not exist here may have held it
    if not before.created and not before.creations:
        return
    keep_for_ever(before)
    set_aside.append(before)
    for created in before.created:
        created.holder.forget(None)
    for creation in before.creations:
        creation.holder.forget(None)
