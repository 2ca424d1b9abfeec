"""Which of several providers gets the next call: the one with the least to do that answers. Pure.

A provider that can't be reached, or leaves calls without an answer one after the other, is passed
over for a while that doubles; then one call finds out whether it is back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tornado_multi.dubbo.addresses import Address

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 3.0
DOUBTS_BEFORE_PAUSE = 3
"""Calls without an answer in a row: one slow method is no reason to leave a provider."""


@dataclass(slots=True)
class Standing:
    """How one provider has done lately. Times are those of the event loop's clock."""

    active: int = 0
    """Calls under way."""
    failures: int = 0
    """In a row: times it could not be reached."""
    doubts: int = 0
    """In a row: calls without an answer."""
    unreachable_since_s: float | None = None
    paused_until_s: float = 0.0
    reason: str = ""
    """Why it was not reached the last time."""
    named_s: float = 0.0
    """When a resolver named it the last time."""

    def answered(self) -> None:
        """Note that it lives."""
        self.failures = self.doubts = 0
        self.unreachable_since_s = None
        self.paused_until_s = 0.0

    def was_unreachable(self, now_s: float, reason: str, jitter: Callable[[], float]) -> None:
        """Note that no connection could be had. Args: jitter: gives a number from 0 to 1."""
        if self.unreachable_since_s is None:
            self.unreachable_since_s = now_s
        self.reason = reason
        if now_s >= self.paused_until_s:  # else a call that had begun before the pause
            self.failures += 1
            self.paused_until_s = now_s + _pause_s(self.failures, jitter)

    def left_in_doubt(self, now_s: float, reason: str, jitter: Callable[[], float]) -> None:
        """Note a call without an answer."""
        self.doubts += 1
        self.reason = reason
        beyond = self.doubts - DOUBTS_BEFORE_PAUSE
        if beyond >= 0 and now_s >= self.paused_until_s:
            self.paused_until_s = now_s + _pause_s(beyond + 1, jitter)

    def is_paused(self, now_s: float) -> bool:
        """Tell whether it is passed over just now."""
        return now_s < self.paused_until_s


def _pause_s(count: int, jitter: Callable[[], float]) -> float:
    longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(count - 1, 20))
    return longest_s * (0.5 + 0.5 * jitter())


def choose(
    standings: Mapping[Address, Standing],
    tried: Collection[Address],
    now_s: float,
    jitter: Callable[[], float],
) -> Address:
    """Return who gets the next call: of those that this call has not tried and that are not passed
    over the one with the fewest calls under way; chance decides between equals.

    Args: standings: of at least one provider.
    """
    if len(standings) == 1:
        return next(iter(standings))
    healthy = [item for item in standings if not standings[item].is_paused(now_s)]
    fresh = [item for item in standings if item not in tried]
    both = [item for item in fresh if item in healthy]
    candidates = both or healthy or fresh or list(standings)
    least = min(standings[address].active for address in candidates)
    idlest = [address for address in candidates if standings[address].active == least]
    return idlest[min(len(idlest) - 1, int(jitter() * len(idlest)))]
