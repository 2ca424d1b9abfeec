"""Objects of the heap that a fork must not share: one pass over what the collector tracks.

Runs in: zygote, before ``gc.freeze`` (frozen objects are not listed).
"""

from __future__ import annotations

import _thread
import collections
import gc
import itertools
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
    # Several times through all of them, but without Python for each: 75,000 take some 8 ms.
    # By number, because a metaclass may forbid to hash its classes.
    numbers = list(map(id, map(type, things)))
    kinds = dict(zip(numbers, map(type, things), strict=True))
    wanted = {
        number: name for number, kind in kinds.items() if (name := _name_of(kind)) is not None
    }
    found: dict[str, list[Any]] = {}
    for thing in itertools.compress(things, map(wanted.__contains__, numbers)):
        found.setdefault(wanted[id(type(thing))], []).append(thing)
    return found


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
