"""Figures, their bars, and the table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured row: the median (or what *note* says) of *values*."""

    name: str
    unit: str
    values: tuple[float, ...]
    bar: float | None = None
    """At most this; None = no promise."""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def missed(self) -> bool:
        return self.bar is not None and self.median > self.bar


def as_table(figures: list[Figure]) -> str:
    """Render as a Markdown table, bad rows like good ones."""
    lines = [
        "| figure | median | min .. max | runs | bar | note |",
        "| - | -: | - | -: | -: | - |",
    ]
    for item in figures:
        spread = f"{min(item.values):.4g} .. {max(item.values):.4g}"
        bar = "-" if item.bar is None else f"{item.bar:g}" + (" MISSED" if item.missed else "")
        lines.append(
            f"| {item.name} | {item.median:.4g} {item.unit} | {spread} | {len(item.values)} "
            f"| {bar} | {item.note} |"
        )
    return "\n".join(lines)
