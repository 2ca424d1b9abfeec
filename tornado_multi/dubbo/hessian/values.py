"""What Hessian knows and Python does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_DEPTH = 200
"""Containers in each other. Java's own reader ends with a stack overflow at some thousands."""


class HessianError(Exception):
    """A value that can't be written, or bytes that are no value; a full sentence."""


class JavaLong(int):
    """An int that is written as a long however small it is: what a Java ``long`` inside a map wants."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class JavaArray:
    """A list that is written with a type, such as ``[string`` or ``[int``."""

    type: str
    items: list[Any] | tuple[Any, ...]


@dataclass(slots=True, eq=False)
class JavaObject:
    """An object of a class that has no counterpart here.

    Two of them are equal if class and fields are; objects may refer to each other in a circle, so
    compare those by their fields yourself.
    """

    class_name: str
    fields: dict[str, Any]

    def __eq__(self, other: object) -> bool:
        """Compare class and fields."""
        if not isinstance(other, JavaObject):
            return NotImplemented
        return self.class_name == other.class_name and self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]
