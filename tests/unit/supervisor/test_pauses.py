"""How long a process waits before it is started again, as bare numbers."""

from __future__ import annotations

import pytest

from tornado_multi.supervisor.pauses import (
    BACKOFF_LONGEST_S,
    BUDGET_WINDOW_S,
    JITTER,
    KILLS_AT_ONCE,
    KILLS_WINDOW_S,
    backoff_s,
    budget_free_at_s,
    count_kill,
)
from tornado_multi.supervisor.state import Place

BARE_S = {0: 0.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 8.0, 5: 16.0, 6: 30.0, 7: 30.0, 1000: 30.0}
MANY = range(1, 200)


# --- backoff --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "pause_s"), BARE_S.items())
def test_the_pause_doubles_up_to_half_a_minute(failures: int, pause_s: float) -> None:
    """The first fork_id has no jitter, so that one worker's pauses are the ones in the docs."""
    assert pause_s == backoff_s(failures)


@pytest.mark.parametrize("failures", [1, 2, 5, 6, 50])
def test_the_jitter_adds_up_to_a_quarter_and_never_takes_away(failures: int) -> None:
    """A pause is never shorter than it says, and at most 37.5 s."""
    bare_s = backoff_s(failures)
    pauses_s = [backoff_s(failures, fork_id) for fork_id in range(4096)]

    assert bare_s == min(pauses_s)
    assert max(pauses_s) < bare_s * (1 + JITTER)
    assert max(pauses_s) <= BACKOFF_LONGEST_S * (1 + JITTER)


@pytest.mark.parametrize("failures", [1, 2, 3, 4, 5, 6, 10])
def test_places_that_failed_together_are_spread_evenly(failures: int) -> None:
    """Of 64 places, each tenth of the spread gets some and none gets a crowd."""
    bare_s = backoff_s(failures)
    tenths = [0] * 10
    for fork_id in range(64):
        tenths[int((backoff_s(failures, fork_id) / bare_s - 1) / JITTER * 10)] += 1

    assert min(tenths) >= 1
    assert max(tenths) <= 14


def test_two_places_do_not_keep_their_distance() -> None:
    """Two that were unlucky once are apart the next time: the jitter depends on both numbers."""
    differences = {
        round(backoff_s(failures, 1) - backoff_s(failures, 2), 3) for failures in range(6, 20)
    }

    assert len(differences) >= 4


def test_the_pause_is_the_same_each_time() -> None:
    """Decisions are repeatable: a history that was recorded leads to the same effects."""
    first = [backoff_s(failures, 3) for failures in MANY]

    assert first == [backoff_s(failures, 3) for failures in MANY]


# --- the budget -----------------------------------------------------------------------------------


def test_within_the_budget_a_start_is_free_now() -> None:
    """Sixty a minute: the sixtieth goes through."""
    respawns_s = [float(second) for second in range(59)]

    assert None is budget_free_at_s(respawns_s, 60, 59.0)


def test_a_used_up_budget_is_free_again_when_the_first_start_is_a_minute_old() -> None:
    """A sliding minute, not one that begins anew: never more than the budget in any 60 s."""
    respawns_s = [float(second) for second in range(60)]

    assert BUDGET_WINDOW_S == budget_free_at_s(respawns_s, 60, 59.5)
    assert None is budget_free_at_s(respawns_s, 60, BUDGET_WINDOW_S)
    assert 1.0 == respawns_s[0]


def test_old_starts_are_forgotten() -> None:
    """The list does not grow for ever."""
    respawns_s = [0.0, 1.0, 50.0]

    assert None is budget_free_at_s(respawns_s, 3, 61.0)
    assert [50.0] == respawns_s


def test_a_budget_that_a_reload_made_smaller_holds_at_once() -> None:
    """Ten starts, then a budget of three: free when the third last is a minute old."""
    respawns_s = [float(second) for second in range(10)]

    assert 67.0 == budget_free_at_s(respawns_s, 3, 20.0)


# --- kills from outside ---------------------------------------------------------------------------


def test_ten_kills_a_minute_are_answered_at_once_the_eleventh_after_a_second() -> None:
    """People and tests kill now and then; what kills a worker each time it is ready is slowed."""
    place = Place(0)
    for number in range(KILLS_AT_ONCE):
        count_kill(place, 10.0 + number)

        assert None is place.retry_at_s
    count_kill(place, 30.0)

    assert 31.0 == place.retry_at_s


def test_kills_of_another_minute_do_not_count() -> None:
    """The count begins anew with the first kill after the window."""
    place = Place(0)
    for number in range(KILLS_AT_ONCE):
        count_kill(place, 10.0 + number)
    count_kill(place, 10.1 + KILLS_WINDOW_S)

    assert (1, None) == (place.kills, place.retry_at_s)
