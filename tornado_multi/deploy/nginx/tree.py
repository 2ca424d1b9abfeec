"""A configuration of nginx as data: directives in a tree. Pure.

Source: nginx documentation, "Configuration File's Structure".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive: ``listen 80;``, or with a block: ``server { ... }``.

    Arguments are what nginx gets after unquoting: quoting is the writer's affair. A variable in an
    argument is what nginx takes for one; a value that must not hold any is refused by the writer.
    """

    name: str
    args: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None
    """None: it ends with a semicolon."""
    comment: str = ""
    """Why it is there; one or more sentences without line ends."""
    line: int = 0
    """Where it was read, from 1 on; 0: it was made."""
    file: str = ""
    """In which file it was read."""
