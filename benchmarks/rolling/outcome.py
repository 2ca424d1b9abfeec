"""What one row showed, as data and as the words of the table. No I/O."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


UNREAD = "lost, unread by nginx"
"""nginx closed the connection, by a reload of its own, when the request was on its way to it."""


@dataclass(frozen=True)
class Failure:
    """A request that was sent and got no right answer."""

    kind: str
    """``502`` and other numbers: the status; lost: no answer came; timeout; wrong body; UNREAD."""
    sent_at_s: float
    ended_at_s: float
    """Both on the monotonic clock."""
    last_tried: str = ""
    """Address of the instance that nginx asked last; empty: it named none."""
    request_id: str = ""


@dataclass(frozen=True)
class Kill:
    """One killed instance."""

    address: str
    at_s: float
    """On the monotonic clock, before the signal was sent."""
    dead_at_s: float
    """It was seen that it is gone, and its connections with it."""


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
        """Return the failures that nothing excuses.

        No way to replace instances could have saved what was in progress in an instance when that was killed, and what nginx never
        read because it closed its own connection.
        """
        return tuple(
            failure
            for failure in self.failures
            if failure.kind != UNREAD and not self._was_killed(failure)
        )

    def inside_killed(self) -> int:
        """Return how many failures were in progress in the killed instance at its end."""
        return sum(self._was_killed(failure) for failure in self.failures)

    def _was_killed(self, failure: Failure) -> bool:
        return (
            self.kill is not None
            and failure.last_tried == self.kill.address
            and failure.sent_at_s <= self.kill.dead_at_s
            and failure.ended_at_s >= self.kill.at_s
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
        return f"{sum(spans_s) / len(spans_s):.2f}" if spans_s else "-"

    def _notes_cell(self) -> str:
        notes = []
        if self.failed:
            notes.append(counted_kinds(Counter(f.kind for run in self.runs for f in run.failures)))
        if self.failed and len(self.runs) > 1:
            notes.append(f"by run {', '.join(str(len(run.failures)) for run in self.runs)}")
        if inside := sum(run.inside_killed() for run in self.runs):
            notes.append(f"{inside} of them inside the killed process")
        if twice := sum(run.sent_twice for run in self.runs):
            notes.append(f"{twice} POSTs sent twice")
        return "; ".join([*notes, *self.problems])


def with_unread(failures: Iterable[Failure], read_ids: frozenset[str]) -> tuple[Failure, ...]:
    """Return the failures, with those that nginx never read called so.

    Args: read_ids: of all requests that it read.
    """
    return tuple(
        dataclasses.replace(failure, kind=UNREAD)
        if failure.kind == "lost" and failure.request_id not in read_ids
        else failure
        for failure in failures
    )


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
