"""Objects of the heap that a fork must not share: one pass over what the collector tracks.

Runs in: zygote, before ``gc.freeze`` (frozen objects are not listed).
"""

from __future__ import annotations

import _thread
import collections
import gc
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, GetSetDescriptorType
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.libraries import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD = {
    "loop": "asyncio.events.AbstractEventLoop",
    "tls": "ssl.SSLSocket",
    "sqlite": "sqlite3.Connection",
    "random": "random.Random",
    "numpy.random": "numpy.random._generator.Generator",
    "executor": "concurrent.futures.thread.ThreadPoolExecutor",
    "process": "subprocess.Popen",
    "text": "_io.TextIOWrapper",
    "buffer": "_io.BufferedWriter",
    "numpy.legacy": "numpy.random.mtrand.RandomState",
}
WANTED = {full: short for short, full in (STANDARD | CLASSES).items()}
LOCKS = (_thread.LockType, type(_thread.RLock()))
WAITING = (list, tuple, set, frozenset, collections.deque)
LOCKLESS = (FunctionType, BuiltinFunctionType, CodeType, type, property, GetSetDescriptorType)
"""They are many, and refer to no lock of their own."""


def collect() -> dict[str, list[Any]]:
    """Return the objects of the classes in STANDARD and CLASSES, by short name."""
    gc.unfreeze()  # an app may have frozen its heap itself, and frozen objects are not listed
    things = gc.get_objects()
    try:
        # Twice through all of them, but with little Python for each: 75,000 take some 8 ms.
        kinds = {kind: name for kind in set(map(type, things)) if (name := _name_of(kind))}
        wanted = [(kinds[type(thing)], thing) for thing in things if type(thing) in kinds]
    except Exception:  # noqa: BLE001 - of a metaclass that does not let its classes be hashed
        wanted = list(_by_number(things))
    found: dict[str, list[Any]] = {}
    for name, thing in wanted:
        found.setdefault(name, []).append(thing)
    return found


def _by_number(things: list[Any]) -> Iterator[tuple[str, Any]]:
    """Return what is wanted with its name, without a hash of a class. Takes twice the time."""
    kinds = {id(type(thing)): type(thing) for thing in things}
    names = {number: _name_of(kind) for number, kind in kinds.items()}
    for thing in things:
        name = names[id(type(thing))]
        if name is not None:
            yield name, thing


def _name_of(kind: type) -> str | None:
    for parent in type.__dict__["__mro__"].__get__(kind):
        try:
            name = f"{parent.__module__}.{parent.__qualname__}"
        except Exception:  # noqa: BLE001, S112 - of a metaclass that answers by itself
            continue
        if name in WANTED:
            return WANTED[name]
    return None


def locks() -> Iterator[tuple[Any, object]]:
    """Return each lock that something refers to, and what does.

    Looks at what objects refer to, never at ``__dict__``, which would make one for each of them.
    """
    seen: set[int] = set()
    for holder in gc.get_objects():
        # Not isinstance: it asks for __class__, by which a lazy proxy would make what it stands for.
        if issubclass(type(holder), (*LOCKLESS, *WAITING)):
            continue  # in a list of waiters each is held by the one who waits, as it must
        for thing in gc.get_referents(holder):
            if type(thing) in LOCKS and id(thing) not in seen:
                seen.add(id(thing))
                yield thing, holder


def lock_name(lock: object, holder: object) -> str:
    """Return how a lock is called where it is kept: ``shop.views.LOCK``, ``shop.Cache.lock``.

    Looks through the whole heap: only for a lock that is a finding.
    """
    if not isinstance(holder, dict):
        return f"{type(holder).__module__}.{type(holder).__qualname__}"
    key = next((name for name, value in holder.items() if value is lock), "?")
    for name, module in list(sys.modules.items()):
        if getattr(module, "__dict__", None) is holder:
            return f"{name}.{key}"
    for owner in gc.get_referrers(holder):
        if getattr(owner, "__dict__", None) is holder:
            return f"{type(owner).__module__}.{type(owner).__qualname__}.{key}"
    return str(key)


def is_held(lock: Any) -> bool:
    """Tell whether somebody holds a lock now."""
    if hasattr(lock, "locked"):
        return bool(lock.locked())
    return "unlocked" not in repr(lock)  # RLock.locked came with Python 3.14


def class_of(thing: object) -> str:
    """Say what a thing is without asking it."""
    return f"an object of {type(thing).__module__}.{type(thing).__qualname__}"
