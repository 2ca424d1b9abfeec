"""What an audit leaves to be dealt with at each fork. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import weakref

    from tornado_multi.forksafety.libraries import Held


@dataclass
class Heritage:
    """What the audit has seen that has to be dealt with at each fork."""

    seen: dict[int, tuple[int, int]] = field(default_factory=dict)
    """descriptor -> identity: what a later look need not judge again"""
    sockets: dict[int, DeadEnd] = field(default_factory=dict)
    """descriptor -> how it is to end in a child"""
    epolls: set[int] = field(default_factory=set)
    held: list[Held] = field(default_factory=list)
    locks: list[Any] = field(default_factory=list)
    """Locks that another thread may hold at the fork."""
    randoms: list[Any] = field(default_factory=list)
    writers: list[weakref.ref[Any]] = field(default_factory=list)
    """Files that may have something in their buffer."""
    unconnected: set[int] = field(default_factory=set)
    """Sockets that somebody may yet connect."""


@dataclass(frozen=True)
class DeadEnd:
    """A connection that is cut off in the child."""

    identity: tuple[int, int]
    what: str
    place: str
    """``file:line`` that has made it, or an empty text."""
    farewell: Any = None
    """``Held.farewell``"""
    owner: weakref.ref[Any] | None = None
    """The object that has made it, if it is known."""
