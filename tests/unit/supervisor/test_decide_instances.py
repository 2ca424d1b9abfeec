"""Instances that come and go, workers that may be missing, and ends that are announced before."""

from __future__ import annotations

import dataclasses

import pytest
from support.histories import (
    COMMAND,
    CRASHED,
    INT,
    KILLED,
    LEFT,
    LIMITS,
    TERM,
    Moment,
    Replay,
    replay,
    serving,
    started_worker,
)

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import Limits, Phase

OWN = dataclasses.replace(LIMITS, has_own_listeners=True)
SLOW = dataclasses.replace(OWN, drain_delay_s=5.0)


def instances(workers: int, limits: Limits = OWN) -> Replay:
    return replay(serving(workers), workers=workers, limits=limits)


def silent(seen: Replay) -> list[ev.Effect]:
    """Return what the last event led to, without what is said."""
    return [effect for effect in seen.effects if not isinstance(effect, ev.Say)]


def left(row: int, at_s: float) -> list[Moment]:
    return [(at_s, ev.WorkerDraining(row)), (at_s, ev.WorkerEnded(row, LEFT, 0))]


# --- listeners of their own -----------------------------------------------------------------------


def test_an_instance_that_goes_takes_its_queue_along() -> None:
    """No further connection begins; what is queued is taken, and only then the listener closes."""
    seen = instances(3).then((10.0, ev.ScaleAsked(2)))

    assert [ev.RefuseConnections(2), ev.DrainWorker(2, 30.0, empty_queue=True)] == silent(seen)

    seen.then((10.1, ev.WorkerDraining(2)))

    assert [ev.CloseListeners(2)] == silent(seen)

    seen.then((11.0, ev.WorkerEnded(2, LEFT, 0)))

    assert [] == silent(seen)


def test_an_instance_without_a_process_loses_its_listener_at_once() -> None:
    """Nobody would ever take what comes."""
    seen = instances(2).then(
        (10.0, ev.WorkerEnded(1, LEFT, 0)),
        (10.0, ev.ForkRefused(1, "no process to be had")),
        (10.1, ev.ScaleAsked(1)),
    )

    assert [ev.CloseListeners(1)] == silent(seen)


def test_a_reload_that_fails_closes_what_was_opened_for_it() -> None:
    """Else connections to instances that never come would wait for ever."""
    seen = instances(2).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(OWN, 4)),
        (10.0, ev.ZygoteSpawned(2, 102)),
        (10.1, ev.ZygoteLoadFailed(2, "no", "", usage=False)),
    )

    assert [ev.CloseListeners(2), ev.CloseListeners(3)] == [
        effect for effect in seen.effects if isinstance(effect, ev.CloseListeners)
    ]


def test_an_instance_that_comes_back_keeps_its_listener() -> None:
    """Its successor takes from it before the one that leaves has ended."""
    seen = instances(2).then((10.0, ev.ScaleAsked(1)), (10.1, ev.ScaleAsked(2)))

    assert [ev.ForkWorker(1, 2, 1)] == silent(seen)

    seen.then(*left(1, 11.0))

    assert [] == silent(seen)


def test_workers_that_share_listeners_close_none() -> None:
    """A scale-down of serve leaves the queue to the others."""
    seen = replay(serving(2), workers=2).then((10.0, ev.ScaleAsked(1)), *left(1, 10.1))

    assert not [
        effect
        for effect in seen.all_effects
        if isinstance(effect, ev.RefuseConnections | ev.CloseListeners)
    ]


def test_an_instance_in_a_pause_refuses_connections() -> None:
    """Nobody would take them from its queue; when the next worker is due, it is no affair of ours."""
    died: list[Moment] = [(1.0, ev.WorkerEnded(1, CRASHED, 0))]
    seen = instances(2).then(*died)
    assert ev.SuspendListener(1) in seen.effects, "one young death is a pause of a second"

    seen.then((1.5, ev.DeadlinePassed()))
    assert ev.SuspendListener(1) not in seen.effects, "once is enough"

    seen.then((3.0, ev.DeadlinePassed()))
    assert ev.ForkWorker(1, 1, 1) in seen.effects
    assert [] == seen.state.suspended_listeners

    seen.then((3.1, ev.WorkerEnded(1, CRASHED, 0)))
    assert ev.SuspendListener(1) in seen.effects


def test_instances_without_a_zygote_for_long_refuse_connections() -> None:
    """As long as its next try is put off; one that imports is waited for."""
    seen = instances(1).then(
        (99.0, ev.ZygoteEnded(1, KILLED)), (99.1, ev.WorkerEnded(0, KILLED, 0))
    )
    assert ev.StartZygote(2) in seen.all_effects
    assert ev.SuspendListener(0) not in seen.all_effects

    seen.then(
        (99.2, ev.ZygoteLoadFailed(2, "no", "", usage=False)), (99.3, ev.ZygoteEnded(2, LEFT))
    )
    assert ev.SuspendListener(0) in seen.all_effects


def test_workers_that_share_listeners_suspend_none() -> None:
    """The others take what comes."""
    seen = replay(serving(2), workers=2).then((1.0, ev.WorkerEnded(1, CRASHED, 0)))

    assert not [item for item in seen.all_effects if isinstance(item, ev.SuspendListener)]


# --- an end that is announced ---------------------------------------------------------------------


@pytest.mark.parametrize("asked", [TERM, COMMAND])
def test_a_stop_is_announced_before_it_begins(asked: ev.StopAsked) -> None:
    """The ready path says no, requests are served, and after the delay it is a stop like any."""
    seen = instances(2, SLOW).then((10.0, asked))

    assert [
        ev.TellReadiness(0, wants_requests=False),
        ev.TellReadiness(1, wants_requests=False),
    ] == silent(seen)
    assert Phase.SERVING is seen.state.phase
    assert 15.0 == next_deadline_s(seen.state)

    seen.then((12.0, asked))

    assert [] == seen.effects

    seen.then((15.0, ev.DeadlinePassed()))

    assert ev.RefuseConnections() in seen.effects
    assert ev.DrainWorker(1, 30.0, empty_queue=True) in seen.effects
    assert Phase.STOPPING is seen.state.phase


def test_who_is_in_a_hurry_does_not_wait_for_the_delay() -> None:
    """INT ends it at once, also when a stop has been announced already."""
    for before in ([], [(10.0, TERM)]):
        seen = instances(1, SLOW).then(*before, (11.0, INT))

        assert ev.DrainWorker(0, 0.0) in seen.effects
        assert seen.state.stop_due_s is None


def test_a_service_that_is_going_to_stop_still_replaces_what_dies() -> None:
    """It serves on; the new worker says at its ready path what the old one did."""
    seen = instances(1, SLOW).then((10.0, TERM), (11.0, ev.WorkerEnded(0, KILLED, 0)))

    assert ev.ForkWorker(1, 0, 0) in seen.effects

    seen.then(*started_worker(0, at_s=11.1))

    assert ev.TellReadiness(0, wants_requests=False) in seen.effects


def test_a_service_that_is_going_to_stop_begins_no_reload() -> None:
    """And none waits either."""
    seen = instances(1, SLOW).then((10.0, TERM), (11.0, ev.ReloadAsked("SIGHUP")))

    assert [] == seen.effects
    assert not seen.state.reload_queued


def test_an_instance_that_goes_is_announced_too() -> None:
    """Its balancer asks at its ready path; the others stay as they are."""
    seen = instances(2, SLOW).then((10.0, ev.ScaleAsked(1)))

    assert [ev.TellReadiness(1, wants_requests=False)] == silent(seen)
    assert 15.0 == next_deadline_s(seen.state)

    seen.then((15.0, ev.DeadlinePassed()))

    assert [ev.RefuseConnections(1), ev.DrainWorker(1, 30.0, empty_queue=True)] == silent(seen)


def test_an_instance_that_goes_during_its_replacement_serves_for_the_delay() -> None:
    """Its successor, which is starting, leaves at once, but nobody is refused yet."""
    seen = instances(2, SLOW).then(
        (10.0, ev.RestartAsked(1)),
        (10.0, ev.WorkerForked(2, 202)),
        (10.1, ev.ScaleAsked(1)),
    )

    assert [ev.TellReadiness(1, wants_requests=False), ev.DrainWorker(2, 0.0)] == silent(seen)

    seen.then((10.2, ev.WorkerEnded(2, LEFT, 0)), (15.1, ev.DeadlinePassed()))

    assert [ev.RefuseConnections(1), ev.DrainWorker(1, 30.0, empty_queue=True)] == silent(seen)


def test_an_instance_that_was_announced_may_stay_after_all() -> None:
    """Scaled up again meanwhile, it takes its word back, and nothing else happens."""
    seen = instances(2, SLOW).then((10.0, ev.ScaleAsked(1)), (11.0, ev.ScaleAsked(2)))

    assert [ev.TellReadiness(1, wants_requests=True)] == silent(seen)
    assert next_deadline_s(seen.state) is None


def test_workers_that_share_listeners_announce_no_scale_down() -> None:
    """Nobody can tell them apart from outside."""
    limits = dataclasses.replace(LIMITS, drain_delay_s=5.0)
    seen = replay(serving(2), workers=2, limits=limits).then((10.0, ev.ScaleAsked(1)))

    assert [ev.DrainWorker(1, 30.0)] == silent(seen)


# --- workers that may be missing ------------------------------------------------------------------


def rolled(limits: Limits, workers: int = 3) -> Replay:
    """Return a reload whose canary has just become ready."""
    return replay(serving(workers), workers=workers, limits=limits).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(limits, None)),
        (10.1, ev.ZygoteLoaded(2, 0.1)),
        *started_worker(workers, at_s=10.2),
    )


def test_some_may_leave_before_their_successors_are_ready() -> None:
    """So many at once, and their successors start at once."""
    seen = rolled(dataclasses.replace(LIMITS, max_surge="1", max_unavailable="1"))
    drained = [effect.row for effect in seen.acts if isinstance(effect, ev.DrainWorker)]
    forked = [effect.fork_id for effect in seen.acts if isinstance(effect, ev.ForkWorker)]

    assert [0, 1] == drained, "the canary's predecessor, and one that is missed for a while"
    assert [1, 2] == forked, "in its place, and beside one that serves"


def test_without_surge_a_successor_starts_when_the_old_one_has_ended() -> None:
    """No more processes than before at any time, but for the canary."""
    seen = rolled(dataclasses.replace(LIMITS, max_surge="0", max_unavailable="1"))

    assert [ev.DrainWorker(0, 30.0), ev.DrainWorker(1, 30.0)] == seen.acts

    seen.then(*left(0, 10.3))

    assert [] == seen.acts

    seen.then(*left(1, 10.4))

    assert [ev.ForkWorker(2, 0, 1)] == seen.acts

    seen.then(*started_worker(0, at_s=10.5))

    assert [ev.DrainWorker(2, 30.0)] == seen.acts


def test_without_surge_a_restart_ends_the_old_worker_first() -> None:
    """There is no other way; it is one of those that may be missing."""
    limits = dataclasses.replace(LIMITS, max_surge="0", max_unavailable="1")
    seen = replay(serving(2), workers=2, limits=limits).then((10.0, ev.RestartAsked(1)))

    assert [ev.DrainWorker(1, 30.0)] == seen.acts

    seen.then(*left(1, 10.1))

    assert [ev.ForkWorker(1, 1, 1)] == seen.acts


def test_who_is_missing_anyway_counts() -> None:
    """With one dead already, nobody else is let go."""
    limits = dataclasses.replace(LIMITS, max_surge="0", max_unavailable="1")
    seen = replay(serving(3), workers=3, limits=limits).then(
        (10.0, ev.WorkerEnded(2, LEFT, 0)), (10.0, ev.RestartAsked(1))
    )

    assert [] == [effect for effect in seen.all_effects if isinstance(effect, ev.DrainWorker)]


@pytest.mark.parametrize(
    ("surge", "unavailable", "workers", "expected"),
    [
        ("1", "0", 4, 0),
        ("1", "2", 4, 2),
        ("1", "50%", 5, 2),
        ("1", "10%", 4, 0),
        ("0", "10%", 4, 1),
        ("0%", "1", 4, 1),
    ],
)
def test_how_many_may_be_missing(surge: str, unavailable: str, workers: int, expected: int) -> None:
    """A share is rounded down, but a reload always goes on."""
    limits = Limits(60.0, 30.0, max_surge=surge, max_unavailable=unavailable)

    assert expected == limits.unavailable(workers)
