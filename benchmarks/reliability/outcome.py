"""What one scenario showed of one system, as data and as the words of a table. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter


@dataclass(frozen=True)
class Outcome:
    """One cell of the table. What a scenario does not look at is None."""

    passed: bool | None
    """None: the scenario does not apply; the notes say why."""
    failed: Counter[str] | None = None
    """Requests that were no success, by kind: refused, reset, empty, timeout, other."""
    requests: int | None = None
    """All requests that *failed* was counted from."""
    unexcused: int | None = None
    """Failures that the end of a killed worker does not excuse; None: nothing was killed."""
    survivors: int | None = None
    """Processes of the system that were left when none should be."""
    time_s: float | None = None
    """How long it took until all was well; what that is, *time_name* says."""
    time_name: str = "whole again after"
    notes: tuple[str, ...] = ()

    @property
    def failed_count(self) -> int:
        """The failures that count: which client a killed worker had in hand is chance."""
        if self.unexcused is not None:
            return self.unexcused
        return 0 if self.failed is None else self.failed.total()

    def cell(self) -> str:
        """Return the words for the table: the verdict, then the figures, then the notes."""
        verdict = {True: "passes", False: "**fails**", None: "-"}[self.passed]
        facts = [*self._facts(), *self.notes]
        return f"{verdict}: {'; '.join(facts)}" if facts else verdict

    def _facts(self) -> list[str]:
        facts = []
        if self.failed is not None:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.failed.most_common())
            of_all = "" if self.requests is None else f" of {self.requests}"
            facts.append(f"{self.failed.total()}{of_all} failed{f' ({kinds})' if kinds else ''}")
        if self.unexcused is not None:
            facts.append(f"{self.unexcused} of others' clients")
        if self.survivors is not None:
            facts.append(counted(self.survivors, "survivor"))
        if self.time_s is not None:
            facts.append(f"{self.time_name} {self.time_s:.2f} s")
        return facts


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: ``1 zombie``, ``2 zombies``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def does_not_apply(reason: str) -> Outcome:
    """Return the cell of a scenario that a system has nothing for."""
    return Outcome(None, notes=(reason,))
