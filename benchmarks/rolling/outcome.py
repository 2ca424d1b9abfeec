"""What one row showed, as data and as the words of the table. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Failure:
    """A request that was sent and got no right answer."""

    kind: str
    """``502`` and other numbers: the status; lost: no answer came; timeout; wrong body."""
    sent_at_s: float
    ended_at_s: float
    """Both on the monotonic clock."""
    last_tried: str = ""
    """Address of the instance that nginx asked last; empty: it named none."""


@dataclass(frozen=True)
class Kill:
    """One killed instance."""

    address: str
    at_s: float
    """On the monotonic clock, before the signal was sent."""
    dead_at_s: float
    """Its end was seen."""


@dataclass(frozen=True)
class Run:
    """What the clients and nginx said of one run."""

    sent: int = 0
    failures: tuple[Failure, ...] = ()
    latencies_ms: tuple[float, ...] = ()
    """Of each success, in no order."""
    reconnects: Counter[str] = field(default_factory=Counter)
    """Connections that were made anew though no request was lost, by the reason."""
    sent_twice: int = 0
    """POSTs that nginx may have given to two instances."""
    log_kinds: Counter[str] = field(default_factory=Counter)
    roll_s: float | None = None
    kill: Kill | None = None
    problem: str = ""
    """Why the run broke off; empty: it did not."""

    def unexcused(self) -> tuple[Failure, ...]:
        """Return the failures that the end of a killed instance does not excuse.

        A request is excused if it was in progress, in that instance, when it was killed.
        """
        kill = self.kill
        return tuple(
            failure
            for failure in self.failures
            if kill is None
            or failure.last_tried != kill.address
            or not failure.sent_at_s <= kill.dead_at_s
            or not failure.ended_at_s >= kill.at_s
        )


@dataclass(frozen=True)
class Outcome:
    """All runs of one row; there is one at least."""

    runs: tuple[Run, ...]

    @property
    def sent(self) -> int:
        return sum(run.sent for run in self.runs)

    @property
    def failed(self) -> int:
        return sum(len(run.failures) for run in self.runs)

    @property
    def unexcused(self) -> int:
        return sum(len(run.unexcused()) for run in self.runs)

    @property
    def problems(self) -> list[str]:
        return [run.problem for run in self.runs if run.problem]

    def cells(self) -> list[str]:
        """Return the cells of the table, from ``failed / sent`` on."""
        return [
            self._failed_cell(),
            self._latency_cell(),
            str(sum(run.reconnects.total() for run in self.runs)),
            counted_kinds(total(run.log_kinds for run in self.runs)) or "0",
            self._roll_cell(),
            self._notes_cell(),
        ]

    def _failed_cell(self) -> str:
        text = f"{self.failed} / {self.sent}"
        return f"**{text}**" if self.unexcused or self.problems else text

    def _latency_cell(self) -> str:
        latencies_ms = sorted(item for run in self.runs for item in run.latencies_ms)
        if not latencies_ms:
            return "-"
        figures = [percentile(latencies_ms, 50), percentile(latencies_ms, 99), latencies_ms[-1]]
        return " / ".join(f"{figure:.0f}" for figure in figures)

    def _roll_cell(self) -> str:
        spans_s = [run.roll_s for run in self.runs if run.roll_s is not None]
        return f"{sum(spans_s) / len(spans_s):.1f}" if spans_s else "-"

    def _notes_cell(self) -> str:
        notes = []
        if self.failed:
            notes.append(counted_kinds(Counter(f.kind for run in self.runs for f in run.failures)))
        if self.failed and len(self.runs) > 1:
            notes.append(f"by run {', '.join(str(len(run.failures)) for run in self.runs)}")
        if any(run.kill for run in self.runs) and self.failed:
            notes.append(f"{self.failed - self.unexcused} of them inside the killed process")
        if twice := sum(run.sent_twice for run in self.runs):
            notes.append(f"{twice} POSTs sent twice")
        return "; ".join([*notes, *self.problems])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of the *ordered* values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def total(counters: Iterable[Counter[str]]) -> Counter[str]:
    """Return all of them as one."""
    return sum(counters, Counter())


def counted_kinds(kinds: Counter[str]) -> str:
    """Return the kinds in words, the most frequent first: ``17 502, 3 lost``."""
    words = [f"{count} {kind}" for kind, count in kinds.most_common()]
    return ", ".join(words)
