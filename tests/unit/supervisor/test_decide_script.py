"""Script mode, as event histories: what a worker's return means, and what a new script asks for."""

from __future__ import annotations

import dataclasses

import pytest
from support.histories import (
    CRASHED,
    FAILED,
    KILLED,
    LEFT,
    LIMITS,
    Replay,
    replay,
    serving,
    started_worker,
)

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.state import Phase

SCRIPT = dataclasses.replace(LIMITS, is_script=True)


def served(workers: int = 2) -> Replay:
    """A script that serves with so many workers."""
    seen = replay([], workers=workers, limits=SCRIPT)
    seen.state.asked_workers = workers
    return seen.then(*serving(workers))


def reloading(workers: int | None) -> Replay:
    """The same, with a new script imported that asks for so many workers."""
    return served().then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(SCRIPT, None)),
        (10.0, ev.ZygoteSpawned(2, 102)),
        (11.0, ev.ZygoteLoaded(2, 0.1, (), workers)),
    )


def test_a_worker_that_returns_is_finished() -> None:
    """Nobody takes its place, and the others serve on."""
    seen = served().then((5.0, ev.WorkerEnded(0, LEFT, 3)))

    assert [] == seen.acts
    assert seen.state.places[0].is_finished
    assert Phase.SERVING is seen.state.phase
    assert [
        "info worker fork_id=0 gen=1 pid=200: Finished: its main program returned."
    ] == seen.said


def test_when_all_have_returned_the_service_ends_with_0() -> None:
    """The zygote leaves, and then all is over."""
    seen = served().then((5.0, ev.WorkerEnded(0, LEFT, 3)), (6.0, ev.WorkerEnded(1, LEFT, 3)))

    assert [ev.ReleaseZygote(1)] == seen.acts

    seen.then((6.1, ev.ZygoteEnded(1, LEFT)))

    assert [ev.Finish()] == seen.acts
    assert 0 == seen.state.exit_code


def test_the_end_comes_also_without_a_zygote() -> None:
    """A zygote that is in backoff owes no word any more."""
    seen = served(1).then(
        (5.0, ev.ZygoteEnded(1, CRASHED)),
        (6.0, ev.WorkerEnded(0, LEFT, 3)),
    )

    assert ev.Finish() in seen.acts


@pytest.mark.parametrize("end", [FAILED, KILLED, CRASHED])
def test_any_other_end_is_replaced(end: object) -> None:
    """At once or after a pause, as for serve."""
    seen = served().then((100.0, ev.WorkerEnded(0, end, 3)))  # type: ignore[arg-type]
    seen.then((102.0, ev.DeadlinePassed()))

    assert any(isinstance(effect, ev.ForkWorker) for effect in seen.all_effects[-3:])


def test_workers_that_return_before_they_are_ready_end_the_boot() -> None:
    """A script may have nothing to serve: it is done, and that is no failed boot."""
    seen = replay(
        [
            (0.0, ev.Started()),
            (0.0, ev.ZygoteLoaded(1, 0.1, (), 1)),
            (0.0, ev.WorkerForked(0, 200)),
            (0.5, ev.WorkerEnded(0, LEFT, 0)),
        ],
        limits=SCRIPT,
    )
    seen.then((0.6, ev.ZygoteEnded(1, LEFT)))

    assert (Phase.FINISHED, 0) == (seen.state.phase, seen.state.exit_code)


def test_restart_brings_a_finished_worker_back() -> None:
    """Somebody asked for it."""
    seen = served().then((5.0, ev.WorkerEnded(0, LEFT, 3)), (6.0, ev.RestartAsked(0)))

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts


def test_a_reload_starts_finished_workers_anew() -> None:
    """The new script has its own idea of when it is done."""
    seen = served().then((5.0, ev.WorkerEnded(1, LEFT, 3)))
    seen.then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(SCRIPT, None)),
        (10.0, ev.ZygoteLoaded(2, 0.1, (), 2)),
        *started_worker(1, at_s=10.0),
    )

    assert [1] == [
        effect.fork_id
        for effect in seen.all_effects
        if isinstance(effect, ev.ForkWorker) and effect.generation == 2 and not effect.is_canary
    ]


def test_an_old_worker_that_returns_in_a_reload_has_a_successor() -> None:
    """It is the old code that is done: the reload goes on to its end."""
    seen = reloading(2).then(
        (11.0, ev.WorkerForked(2, 300)),
        (11.5, ev.WorkerReady(2)),
        (11.6, ev.WorkerEnded(1, LEFT, 3)),
    )

    assert not seen.state.places[1].is_finished
    assert 2 == sum(worker.generation == 2 for worker in seen.state.workers.values())


def test_a_canary_that_returns_fails_the_reload() -> None:
    """It never served: the old workers go on."""
    seen = reloading(2).then((11.0, ev.WorkerForked(2, 300)), (11.5, ev.WorkerEnded(2, LEFT, 0)))

    assert seen.state.last_reload is not None
    assert not seen.state.last_reload.succeeded
    assert not any(place.is_finished for place in seen.state.places.values())


@pytest.mark.parametrize(("asked", "places"), [(2, 2), (3, 3), (1, 1), (None, 2)])
def test_a_new_script_says_how_many_workers_it_wants(asked: int | None, places: int) -> None:
    """The number counts from the canary on."""
    seen = reloading(asked)

    assert 2 == len(seen.state.places)

    seen.then(*started_worker(2, at_s=11.0))

    assert places == len(seen.state.places)


def test_the_same_number_leaves_what_scale_has_set() -> None:
    """Only a changed number in the script changes the number of workers."""
    seen = served().then((5.0, ev.ScaleAsked(3)), *started_worker(2, at_s=5.0))
    seen.then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(SCRIPT, None)),
        (10.0, ev.ZygoteLoaded(2, 0.1, (), 2)),
        *started_worker(3, at_s=10.0),
    )

    assert 3 == len(seen.state.places)


def test_listeners_are_settled_when_a_reload_is_over() -> None:
    """By the generation that serves then."""
    seen = reloading(2).then(*started_worker(2, at_s=11.0), *started_worker(3, at_s=11.0))
    seen.then((12.0, ev.WorkerEnded(0, LEFT, 0)), (12.0, ev.WorkerEnded(1, LEFT, 0)))

    assert ev.SettleListeners(2) in seen.effects


def test_what_the_script_wrote_is_the_reloads_detail() -> None:
    """Its traceback, when it did not get as far as fork_processes."""
    seen = served().then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(SCRIPT, None)),
        (11.0, ev.ZygoteEnded(2, FAILED, "Traceback ...\nValueError: no\n")),
    )

    assert seen.state.last_reload is not None
    assert (
        "The script exited with code 1 before it called fork_processes."
        == seen.state.last_reload.reason
    )
    assert "Traceback ...\nValueError: no" == seen.state.last_reload.detail
