"""A worker that can't live: how often it is started, what is said, how it ends. Event histories."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from typing import TYPE_CHECKING

import pytest
from support.histories import (
    CRASHED,
    FAILED,
    KILLED,
    LIMITS,
    Replay,
    replay,
    serving,
    started_worker,
)

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import WorkerState
from tornado_multi.supervisor.status import unsettled_problem

if TYPE_CHECKING:
    from tornado_multi.process.linux import ProcessEnd

BOOT_S = 0.02
LIVES_S = 0.05


def starts_of(effects: list[ev.Effect]) -> list[ev.ForkWorker]:
    return [effect for effect in effects if isinstance(effect, ev.ForkWorker)]


def crash_loop(
    seen: Replay,
    sick: set[int],
    *,
    from_s: float,
    to_s: float,
    lives_s: float = LIVES_S,
    end: ProcessEnd = CRASHED,
) -> list[tuple[float, int]]:
    """Let every worker of the *sick* fork_ids die *lives_s* after it was ready.

    Returns: when which fork_ids were given a worker.
    """
    starts: list[tuple[float, int]] = []
    to_come: list[tuple[float, int, ev.Event]] = []
    order = itertools.count()

    def put(at_s: float, event: ev.Event) -> None:
        heapq.heappush(to_come, (at_s, next(order), event))

    for worker in seen.state.workers.values():
        if worker.fork_id in sick:
            put(from_s, ev.WorkerEnded(worker.row, end, 0))
    while True:
        deadline_s = next_deadline_s(seen.state) or math.inf
        now_s = min(deadline_s, to_come[0][0] if to_come else math.inf)
        if now_s >= to_s:
            return starts
        event = heapq.heappop(to_come)[2] if now_s < deadline_s else ev.DeadlinePassed()
        seen.then((now_s, event))
        for fork in starts_of(seen.effects):
            starts.append((now_s, fork.fork_id))
            for _, news in started_worker(fork.row, at_s=0.0):
                put(now_s + BOOT_S, news)
            if fork.fork_id in sick:
                put(now_s + BOOT_S + lives_s, ev.WorkerEnded(fork.row, end, 0))


def most_in_a_minute(starts: list[tuple[float, int]]) -> int:
    """Return the most starts in any 60 s."""
    times_s = [at_s for at_s, _ in starts]
    return max(sum(begin_s <= at_s < begin_s + 60 for at_s in times_s) for begin_s in times_s)


def test_a_worker_that_dies_when_ready_is_started_six_times_in_a_minute() -> None:
    """After 0, 1, 2, 4 ... s; its sibling's worker is never touched."""
    seen = replay(serving(2), workers=2)
    starts = crash_loop(seen, {1}, from_s=100.0, to_s=160.0)

    assert 6 == len(starts)
    assert WorkerState.READY is seen.state.workers[0].state
    assert 1 == len([effect for effect in seen.all_effects if effect == ev.ForkWorker(1, 0, 0)])
    assert (0, 0) == (seen.state.places[0].restarts, seen.state.places[0].failures)


def test_it_recovers_by_itself_when_the_cause_is_gone() -> None:
    """The next try after the pause stays; a minute later its record is clean."""
    seen = replay(serving(2), workers=2)
    crash_loop(seen, {1}, from_s=100.0, to_s=160.0)
    retry_s = next_deadline_s(seen.state)
    assert retry_s is not None
    seen.then((retry_s, ev.DeadlinePassed()))
    (fork,) = starts_of(seen.effects)
    seen.then(*started_worker(fork.row, at_s=retry_s + BOOT_S))

    assert None is next_deadline_s(seen.state)
    assert {0, 1} == {worker.fork_id for worker in seen.state.workers.values()}

    seen.then((retry_s + 100, ev.WorkerEnded(fork.row, CRASHED, 0)))

    assert [(1, 1)] == [(fork.generation, fork.fork_id) for fork in starts_of(seen.effects)]
    assert 0 == seen.state.places[1].failures


def test_many_that_die_young_share_one_budget() -> None:
    """Two hundred places in a crash loop: never more than the budget in any minute, and each place
    has its turn.
    """
    limits = dataclasses.replace(LIMITS, respawns_per_min=60)
    seen = replay(serving(201, at_s=99.0), workers=201, limits=limits)
    starts = crash_loop(seen, set(range(1, 201)), from_s=100.0, to_s=500.0)

    assert 60 == most_in_a_minute(starts)
    assert set(range(1, 201)) == {fork_id for _, fork_id in starts}
    assert 0 == seen.state.places[0].restarts
    assert WorkerState.READY is seen.state.workers[0].state


def test_a_used_up_budget_is_said_once_with_budget_cause_and_time() -> None:
    """One clear sentence a minute, no flood."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=5)
    seen = replay(serving(20, at_s=99.0), workers=20, limits=limits)
    crash_loop(seen, set(range(20)), from_s=100.0, to_s=150.0)
    said = [
        effect.text
        for effect in seen.all_effects
        if isinstance(effect, ev.Say) and "respawns_per_min" in effect.text
    ]

    assert [
        (
            "In the last minute 5 workers were started in place of ones that died young "
            "(respawns_per_min); the next start is in 60 s. Worker 3 was ended by SIGSEGV."
        )
    ] == said


def test_the_budget_lets_everybody_come_back_when_the_cause_is_gone() -> None:
    """Who was put off is started later, in the end everybody; nobody is forgotten."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=10)
    seen = replay(serving(30, at_s=99.0), workers=30, limits=limits)
    crash_loop(seen, set(range(30)), from_s=100.0, to_s=130.0)
    crash_loop(seen, set(), from_s=130.0, to_s=130.0 + 5 * 60)

    assert set(range(30)) == {worker.fork_id for worker in seen.state.workers.values()}
    assert None is next_deadline_s(seen.state)


def test_the_status_of_a_place_that_was_put_off_has_its_time_and_cause() -> None:
    """It is in backoff until the budget has room."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=1)
    seen = replay(serving(2, at_s=99.0), workers=2, limits=limits)
    seen.then((100.0, ev.WorkerEnded(0, CRASHED, 0)), (100.0, ev.WorkerEnded(1, CRASHED, 0)))
    seen.then((102.0, ev.DeadlinePassed()))
    put_off = seen.state.places[1]

    assert [ev.ForkWorker(1, 0, 0)] == starts_of(seen.effects)
    assert (162.0, "was ended by SIGSEGV") == (put_off.retry_at_s, put_off.last_end)


def test_kills_from_outside_cost_nothing_of_the_budget() -> None:
    """A worker killed each 6 s for ten minutes, one a minute in the budget: replaced at once."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=1)
    seen = replay(serving(2), workers=2, limits=limits)
    starts = crash_loop(seen, {1}, from_s=100.0, to_s=700.0, lives_s=6.6, end=KILLED)

    assert 600 / (6.6 + BOOT_S) == pytest.approx(len(starts), abs=1)
    assert [] == seen.state.respawns_s
    assert not [
        effect
        for effect in seen.all_effects
        if isinstance(effect, ev.Say) and effect.level == "error"
    ]


def test_an_app_that_kills_itself_each_time_it_is_ready_is_held_by_the_budget() -> None:
    """Ten at once, then one a second and at most the budget: KILL is not always from outside."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=20)
    seen = replay(serving(2), workers=2, limits=limits)
    starts = crash_loop(seen, {1}, from_s=100.0, to_s=160.0, end=KILLED)

    assert len(starts) <= 10 + 20


@pytest.mark.parametrize("end", [CRASHED, KILLED], ids=str)
def test_restart_overrides_pause_and_budget(end: ProcessEnd) -> None:
    """Who has mended the cause need not wait for the minute to pass."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=2)
    seen = replay(serving(2, at_s=99.0), workers=2, limits=limits)
    crash_loop(seen, {0, 1}, from_s=100.0, to_s=130.0, end=end)

    assert not [worker for worker in seen.state.workers.values() if worker.fork_id == 1]

    seen.then((130.0, ev.RestartAsked(1)))

    assert [1] == [fork.fork_id for fork in starts_of(seen.effects)]


def test_a_larger_budget_of_a_reload_counts_at_the_next_start() -> None:
    """The settings are read anew; who was put off keeps its time."""
    limits = dataclasses.replace(LIMITS, respawns_per_min=1)
    seen = replay(serving(2, at_s=99.0), workers=2, limits=limits)
    seen.then((100.0, ev.WorkerEnded(0, CRASHED, 0)), (101.5, ev.DeadlinePassed()))
    seen.then(*started_worker(0, at_s=101.6), (102.0, ev.WorkerEnded(0, CRASHED, 0)))
    seen.state.limits = dataclasses.replace(limits, respawns_per_min=60)
    seen.then((104.5, ev.DeadlinePassed()))

    assert [ev.ForkWorker(1, 0, 0)] == starts_of(seen.effects)


# --- restarts that fail ---------------------------------------------------------------------------


def without_zygote() -> Replay:
    """Two workers serve, and the zygote can't be replaced: the code on disk is broken."""
    return replay(serving(2), workers=2).then(
        (10.0, ev.ZygoteEnded(1, KILLED)),
        (10.1, ev.ZygoteLoadFailed(2, "SyntaxError", "", usage=False)),
        (10.1, ev.ZygoteEnded(2, FAILED)),
    )


def test_a_restart_that_failed_is_not_carried_out_later() -> None:
    """Who was told that it failed does not expect a new worker when the code is mended."""
    seen = without_zygote().then((10.5, ev.RestartAsked(1)))

    assert "No worker can be forked: SyntaxError" == unsettled_problem(seen.state, {1})

    seen.then(
        (10.5, ev.RestartGivenUp(1)), (11.2, ev.DeadlinePassed()), (11.3, ev.ZygoteLoaded(3, 0.1))
    )

    assert [] == seen.acts
    assert [1, 1] == [worker.generation for worker in seen.state.workers.values()]


def test_a_successor_that_is_on_its_way_is_no_failure() -> None:
    """The zygote that forked it may be gone since."""
    seen = replay(serving(2), workers=2).then(
        (10.0, ev.RestartAsked(1)),
        (10.1, ev.WorkerForked(2, 202)),
        (10.2, ev.ZygoteEnded(1, KILLED)),
        (10.3, ev.ZygoteLoadFailed(2, "SyntaxError", "", usage=False)),
        (10.3, ev.ZygoteEnded(2, FAILED)),
    )

    assert None is unsettled_problem(seen.state, {1})

    seen.then((10.4, ev.RestartGivenUp(1)), (10.5, ev.WorkerReady(2)))

    assert [ev.DrainWorker(1, LIMITS.drain_timeout_s)] == seen.acts


def test_a_restart_whose_successor_fails_is_over_with_its_answer() -> None:
    """The worker that serves stays; no further successor is tried."""
    seen = replay(serving(2), workers=2).then(
        (10.0, ev.RestartAsked(1)),
        (10.1, ev.WorkerForked(2, 202)),
        (10.2, ev.WorkerEnded(2, FAILED, 0)),
    )

    assert "Worker 1 does not come up: exited with code 1." == unsettled_problem(seen.state, {1})

    seen.then((10.3, ev.RestartGivenUp(1)))

    assert None is next_deadline_s(seen.state)
    assert None is unsettled_problem(seen.state, {1})


def test_a_worker_that_has_reached_a_limit_is_replaced_all_the_same() -> None:
    """That was not ordered by the command that failed."""
    seen = without_zygote().then((10.4, ev.WorkerWorn(1, "it is old")), (10.5, ev.RestartAsked(1)))
    seen.then(
        (10.5, ev.RestartGivenUp(1)), (11.2, ev.DeadlinePassed()), (11.3, ev.ZygoteLoaded(3, 0.1))
    )

    assert [ev.ForkWorker(3, 2, 1)] == seen.acts


def test_a_place_in_backoff_keeps_its_pause_when_a_restart_is_given_up() -> None:
    """Nobody serves there, so it is tried again as ever."""
    seen = replay(serving(2), workers=2).then(
        (10.0, ev.WorkerEnded(1, CRASHED, 0)), (10.1, ev.RestartGivenUp(1))
    )

    assert next_deadline_s(seen.state) is not None
