"""Blocks and what holds in them: nginx's inheritance, modelled once. Pure.

One rule suffices: a directive holds where it stands and in the blocks below, until a level that has
one of the same name. For a directive that may be repeated (``proxy_set_header``, ``add_header``)
this is all or nothing: a level with one of its own gets none of those above.
Source: nginx documentation of each directive ("inherited from the previous configuration level if
and only if there are no ... directives defined on the current level").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.tree import Directive

NESTED = frozenset({"location", "if", "limit_except"})
"""Blocks within a server that take part in inheritance."""


@dataclass(frozen=True, eq=False)
class Scope:
    """One block, and the one round it."""

    body: tuple[Directive, ...]
    directive: Directive | None = None
    """Whose block it is; None: the file as a whole, or a level that the file only implies."""
    parent: Scope | None = None

    def enter(self, directive: Directive) -> Scope:
        """Return the scope of a block in this one."""
        return Scope(directive.block or (), directive, self)

    def own(self, name: str) -> tuple[Directive, ...]:
        """Return the directives of a name that stand in this block itself."""
        return self._by_name.get(name, ())

    @cached_property
    def _by_name(self) -> dict[str, tuple[Directive, ...]]:
        # The block round thousands of locations is asked once for each of them.
        found: dict[str, list[Directive]] = {}
        for one in self.body:
            found.setdefault(one.name, []).append(one)
        return {name: tuple(each) for name, each in found.items()}

    def nearest(self, name: str) -> tuple[Directive, ...]:
        """Return the directives of a name that hold here; empty: nginx's default holds."""
        scope: Scope | None = self
        while scope is not None:
            if own := scope.own(name):
                return own
            scope = scope.parent
        return ()

    def value(self, name: str, default: str) -> str:
        """Return the first argument of a directive that holds here, or nginx's default."""
        held = self.nearest(name)
        return held[-1].args[0] if held and held[-1].args else default

    def nested(self) -> Iterator[Scope]:
        """Yield the blocks within this one that inherit of it, all depths, in order."""
        for one in self.body:
            if one.name in NESTED and one.block is not None:
                inner = self.enter(one)
                yield inner
                yield from inner.nested()
