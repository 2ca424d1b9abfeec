"""Lines of victims that a comment ``hazard: KIND`` marks: what an audit has to name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARK = re.compile(r"#.*\bhazard: (?P<kind>[a-z-]+)$")
FUNCTION = re.compile(r"^def (?P<name>\w+)")


@dataclass(frozen=True)
class Mark:
    """One marked line."""

    kind: str
    file: str
    """Its name, without directories."""
    line: int
    function: str
    """In which it stands; empty for a line of the module."""


def marks(path: Path) -> list[Mark]:
    """Return the marked lines of a file, from top to bottom."""
    found, function = [], ""
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text and not text[0].isspace():
            begins = FUNCTION.match(text)
            function = begins["name"] if begins else ""
        if mark := MARK.search(text):
            found.append(Mark(mark["kind"], path.name, number, function))
    return found
