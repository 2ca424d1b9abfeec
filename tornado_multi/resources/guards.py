"""What refuses to be used in another process than the one that created it.

``OwnedByProcess`` is for classes that know of it; ``guarded`` puts a thin proxy before any object.
Runs in: any process.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tornado_multi.resources import lives
from tornado_multi.resources.sites import calling_site

if TYPE_CHECKING:
    from collections.abc import Callable

MEND = "Create it on first use in each process, with @tornado_multi.per_process."


class ForkedResourceError(RuntimeError):
    """Something of one process was used in another that was forked from it."""

    def __init__(self, what: str, created_in_pid: int, created_at: str, mend: str = MEND) -> None:
        self.what = what
        self.created_in_pid = created_in_pid
        self.created_at = created_at
        self.used_in_pid = os.getpid()
        self.used_at = calling_site()
        self.mend = mend
        super().__init__(
            f"{what} was created in process {created_in_pid} at {created_at} and is used in "
            f"process {self.used_in_pid}, which was forked from that, at {self.used_at}. {mend}"
        )


class OwnedByProcess:
    """Remembers which process has created something; a class that opens connections holds one.

    Args:
        what: as the error names it: ``DubboClient 127.0.0.1:20880``.
        mend: the sentence that says what to do instead.
        site: ``file:line`` of the creation; by default the app's line that acts now.
    """

    __slots__ = ("_life", "_mend", "_site", "_what")

    def __init__(self, what: str, mend: str = MEND, site: str | None = None) -> None:
        lives.watch_forks()
        self._what = what
        self._mend = mend
        self._site = calling_site() if site is None else site
        self._life = lives.current

    def check_owner(self) -> None:
        """Return if this process is the one that created it.

        Raises: ForkedResourceError: it was forked from that one.
        Blocks: never. Costs about as much as a call of an empty method.
        """
        if self._life is not lives.current:
            raise ForkedResourceError(self._what, self._life.pid, self._site, self._mend)

    def is_owner(self) -> bool:
        """Tell whether this process is the one that created it."""
        return self._life is lives.current

    def __repr__(self) -> str:
        return f"{self._what}, created in process {self._life.pid} at {self._site}"


def guarded(obj: object, owner: OwnedByProcess) -> Any:
    """Return a proxy of *obj*: each use of it asks *owner* first.

    ``isinstance`` takes it for the object; C code does not, and a bound method that was taken from
    it before a fork is not guarded.
    """
    return _guard_class(type(obj))(obj, owner)  # type: ignore[arg-type]  # types can be hashed


class _Guard:
    """Forwards attributes; what Python looks up in the class stands in a subclass for each type."""

    __slots__ = ("__weakref__", "_guarded", "_owner")

    def __init__(self, obj: object, owner: OwnedByProcess) -> None:
        object.__setattr__(self, "_guarded", obj)
        object.__setattr__(self, "_owner", owner)

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # who only asks what it is does not use it
            return _inner(self).__class__
        return getattr(_real(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_real(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_real(self), name)

    def __dir__(self) -> list[str]:
        return dir(_real(self))

    def __repr__(self) -> str:
        owner: OwnedByProcess = object.__getattribute__(self, "_owner")
        return f"<guard of {_inner(self)!r}>" if owner.is_owner() else f"<guard of {owner!r}>"


def _inner(guard: _Guard) -> Any:
    return object.__getattribute__(guard, "_guarded")


def _real(guard: _Guard) -> Any:
    object.__getattribute__(guard, "_owner").check_owner()
    return _inner(guard)


_LOOKED_UP_IN_THE_CLASS = [
    *("call", "str", "bytes", "bool", "len", "iter", "next", "reversed", "contains"),
    *("getitem", "setitem", "delitem", "fspath", "enter", "exit", "aenter", "aexit"),
    *("await", "aiter", "anext", "eq", "ne", "lt", "le", "gt", "ge", "hash"),
]


@lru_cache(maxsize=256)
def _guard_class(kind: type) -> type[_Guard]:
    names = [f"__{name}__" for name in _LOOKED_UP_IN_THE_CLASS]
    # object's own comparisons and hash would make two guards of one object differ.
    methods = {name: _forward(name) for name in names if getattr(kind, name, None) is not None}
    return type(f"Guarded{kind.__name__}", (_Guard,), {"__slots__": (), **methods})


def _forward(name: str) -> Callable[..., Any]:
    def forward(guard: _Guard, *arguments: Any, **more: Any) -> Any:
        real = _real(guard)
        return getattr(type(real), name)(real, *arguments, **more)

    return forward
