"""Threads, and the locks that they may hold. Runs in: zygote; ``check``."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety import heap
from tornado_multi.forksafety.findings import Severity, Site
from tornado_multi.forksafety.library_threads import Group, group, module_of
from tornado_multi.forksafety.threads import SURVIVORS, frame_of, native_threads, python_threads

if TYPE_CHECKING:
    from collections.abc import Collection

    from tornado_multi.forksafety.ledger import Ledger, Objects


def look_at_threads(ledger: Ledger, objects: Objects) -> None:
    """Say which threads will not exist in the workers, and which locks they hold."""
    running = python_threads()
    pooled = set()
    for executor in objects.get("executor", []):
        threads = getattr(executor, "_threads", ())  # a subclass may have made none
        own = {item for item in list(threads) if item.is_alive()}
        if own:
            pooled |= own
            site = next((s for item in own if (s := ledger.recorder.site_of(item))), None)
            count = f"{len(own)} thread{'' if len(own) == 1 else 's'}"
            ledger.add("executor", f"ThreadPoolExecutor with {count}", site)
    others = [item for item in running if item not in pooled]
    groups = group(others, native_threads(), ledger.recorder)
    for made in groups:
        with ledger.in_spite_of(made.what):
            _say_threads(ledger, made, objects)
    if running:
        _look_at_locks(ledger, running, {made.module for made in groups if made.rule})


def _say_threads(ledger: Ledger, made: Group, objects: Objects) -> None:
    kind = "native-thread" if made.is_native else "thread"
    rule, survivor = made.rule, SURVIVORS.get(made.module)
    if rule is not None:
        site = made.site or next(
            (s for item in objects.get(made.module, []) if (s := ledger.recorder.site_of(item))),
            None,
        )
        ledger.add(
            kind,
            made.what,
            site,
            library=rule.library,
            severity=rule.severity,
            harm=rule.harm,
            mend=rule.mend,
        )
        _take_what_is_of(ledger, made.module, site, in_c=rule.opens_in_c)
    elif survivor is not None and made.is_native:
        ledger.add(
            kind,
            made.what,
            made.site,
            library=made.module,
            severity=Severity.HANDLED,
            harm=f"{survivor} starts it anew in each process.",
            mend="nothing.",
        )
    else:
        ledger.add(kind, made.what, made.site, library=made.module or None)


def _take_what_is_of(ledger: Ledger, module: str, site: Site | None, *, in_c: bool) -> None:
    """Count what a library has opened as part of it; workers don't get its connections."""
    for fd, item in ledger.open.items():
        found = ledger.site_of_fd(fd)
        is_made_in_c = found is None or fd in ledger.recorder.traced_fds
        is_inner = in_c and is_made_in_c and (item.anonymous or stat.S_ISFIFO(item.mode))
        if fd in ledger.claimed or not (is_inner or module_of(found) == module):
            continue
        ledger.claim({fd})
        facts = fds.socket_facts(fd) if item.is_socket else None
        if facts is not None and facts.has_session:
            ledger.cut_off(fd, f"connected socket {facts.text()}", found)
        elif item.anonymous == "eventpoll":
            ledger.replace_epoll(fd, site)


def _look_at_locks(ledger: Ledger, running: list[threading.Thread], said: Collection[str]) -> None:
    """A lock that is held now can only be released by a thread that a child won't have.

    Args: said: modules of libraries whose threads are a finding, so that their locks need none.
    """
    places = {ledger.recorder.places.find(frame_of(item)) for item in running} - {None}
    place = places.pop() if len(places) == 1 else None
    private = {id(getattr(item, "_tstate_lock", None)) for item in threading.enumerate()}
    for lock, holder in list(heap.locks()):
        if id(lock) in private:
            continue
        ledger.heritage.locks.append(lock)
        if heap.is_held(lock):
            name = heap.lock_name(lock, holder)
            if name.partition(".")[0] not in {"threading", "_thread", *said}:
                ledger.add("held-lock", f"lock {name} is held", place)
