"""Stopping, gracefully and otherwise, as event histories."""

from __future__ import annotations

import pytest
from support.histories import (
    COMMAND,
    CRASHED,
    INT,
    KILLED,
    LEFT,
    TERM,
    Moment,
    importing,
    loaded,
    replay,
    serving,
)

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import Phase


@pytest.mark.parametrize("asked", [TERM, COMMAND], ids=["TERM", "command"])
def test_a_graceful_stop_drains_every_worker(asked: ev.StopAsked) -> None:
    """Requests in progress have drain_timeout_s; the zygote leaves meanwhile; then all is done."""
    seen = replay(serving(2), workers=2).then((10.0, asked))

    assert [
        ev.ReleaseZygote(1),
        ev.DrainWorker(0, 30.0, empty_queue=True),
        ev.DrainWorker(1, 30.0, empty_queue=True),
    ] == seen.acts

    seen.then((10.1, ev.ZygoteEnded(1, LEFT)), (11.0, ev.WorkerEnded(0, LEFT, 5)))

    assert [] == seen.effects

    seen.then((39.0, ev.WorkerEnded(1, LEFT, 5)))

    assert [ev.Finish()] == seen.acts
    assert ExitCode.DONE == seen.state.exit_code


def test_a_hurried_stop_gives_no_time_to_drain() -> None:
    """INT and QUIT end the service at once: the drain has no seconds, the kill only its grace."""
    seen = replay(serving()).then((10.0, INT))

    assert [ev.ReleaseZygote(1), ev.DrainWorker(0, 0.0)] == seen.acts
    assert 12.0 == next_deadline_s(seen.state)


def test_no_connection_begins_once_a_stop_has() -> None:
    """Refused at once; closed when the last worker has taken what was queued and drains."""
    seen = replay(serving(2), workers=2).then((10.0, TERM))

    assert ev.RefuseConnections() == seen.effects[1]
    assert ev.CloseListeners() not in seen.effects

    seen.then((10.1, ev.WorkerDraining(0)))

    assert [] == seen.effects

    seen.then((10.2, ev.WorkerDraining(1)))

    assert [ev.CloseListeners()] == seen.effects

    seen.then((11.0, ev.WorkerEnded(0, LEFT, 0)), (11.0, ev.WorkerEnded(1, LEFT, 0)))

    assert [] == seen.effects


def test_int_hurries_a_graceful_stop() -> None:
    """A TERM followed by INT: the drain that goes on is cut short."""
    seen = replay(serving()).then((10.0, TERM), (15.0, INT))

    assert [ev.DrainWorker(0, 0.0)] == seen.acts
    assert seen.state.workers[0].deadline_s == 17.0


def test_a_second_term_changes_nothing() -> None:
    """TERM asks for a graceful stop, however often: an impatient service manager cuts nothing."""
    seen = replay(serving()).then((10.0, TERM), (11.0, TERM))

    assert [] == seen.effects


@pytest.mark.parametrize(
    "history",
    [[(10.0, INT), (11.0, INT)], [(10.0, TERM), (11.0, INT), (12.0, INT)]],
    ids=["INT INT", "TERM INT INT"],
)
def test_a_second_int_kills(history: list[Moment]) -> None:
    """Whoever asks twice to stop at once gets it: KILL, and the exit code of an end by INT."""
    seen = replay(serving(2), workers=2).then(*history)

    assert [ev.KillWorker(0), ev.KillWorker(1), ev.KillZygote(1)] == seen.acts
    assert next_deadline_s(seen.state) is None

    seen.then(
        (13.0, ev.WorkerEnded(0, KILLED, 0)),
        (13.0, ev.WorkerEnded(1, KILLED, 0)),
        (13.0, ev.ZygoteEnded(1, KILLED)),
    )

    assert [ev.Finish()] == seen.acts
    assert 130 == seen.state.exit_code


def test_one_keypress_that_arrives_twice_kills_nobody() -> None:
    """A wrapper forwards the Ctrl-C that the terminal sent to all: within 0.5 s it is the same."""
    seen = replay(serving()).then((10.0, INT), (10.4, INT))

    assert [] == seen.effects

    seen.then((10.5, INT))

    assert [ev.KillWorker(0), ev.KillZygote(1)] == seen.acts


def test_a_worker_announced_after_the_kill_is_killed_too() -> None:
    """A fork that was under way when everything was killed leaves no worker behind."""
    seen = replay(loaded()).then((1.0, INT), (1.6, INT), (1.7, ev.WorkerForked(0, 200)))

    assert [ev.KillWorker(0)] == seen.acts


def test_a_worker_that_outstays_its_drain_is_killed_and_the_exit_code_says_so() -> None:
    """The drain's deadline is firm: drain_timeout_s and the grace, then KILL and 128 + 15."""
    seen = replay(serving()).then((10.0, TERM))

    assert 12.0 == next_deadline_s(seen.state)  # the zygote's

    seen.then((10.1, ev.ZygoteEnded(1, LEFT)))

    assert 42.0 == next_deadline_s(seen.state)

    seen.then((42.001, ev.DeadlinePassed()))

    assert [ev.KillWorker(0)] == seen.acts

    seen.then((42.1, ev.WorkerEnded(0, KILLED, 5)))

    assert [ev.Finish()] == seen.acts
    assert 143 == seen.state.exit_code


def test_a_zygote_that_does_not_leave_is_killed() -> None:
    """An idle zygote leaves at once; one that doesn't is killed and is no reason to complain."""
    seen = replay(serving()).then(
        (10.0, TERM), (10.1, ev.WorkerEnded(0, LEFT, 0)), (12.001, ev.DeadlinePassed())
    )

    assert [ev.KillZygote(1)] == seen.acts

    seen.then((12.1, ev.ZygoteEnded(1, KILLED)))

    assert [ev.Finish()] == seen.acts
    assert ExitCode.DONE == seen.state.exit_code


@pytest.mark.parametrize("asked", [TERM, INT, COMMAND], ids=["TERM", "INT", "command"])
def test_a_stop_during_the_import_kills_the_zygote(asked: ev.StopAsked) -> None:
    """An import may take any time and has nothing to lose: the service ends with code 0."""
    seen = replay(importing(), workers=2).then((1.0, asked))

    assert [ev.KillZygote(1)] == seen.acts

    seen.then((1.1, ev.ZygoteEnded(1, KILLED)))

    assert [ev.Finish()] == seen.acts
    assert ExitCode.DONE == seen.state.exit_code
    assert seen.state.failure is None


@pytest.mark.parametrize("asked", [TERM, INT], ids=["TERM", "INT"])
def test_a_stop_during_the_boot_gives_starting_workers_the_grace_only(asked: ev.StopAsked) -> None:
    """A worker that is not ready holds no request: it has no drain to do."""
    seen = replay([*loaded(), (0.0, ev.WorkerForked(0, 200))]).then((1.0, asked))

    assert [ev.ReleaseZygote(1), ev.DrainWorker(0, 0.0)] == seen.acts
    assert 3.0 == seen.state.workers[0].deadline_s

    seen.then((1.1, ev.WorkerReady(0)))

    assert [] == seen.effects

    seen.then((1.2, ev.WorkerEnded(0, LEFT, 0)), (1.2, ev.ZygoteEnded(1, LEFT)))

    assert [ev.Finish()] == seen.acts
    assert ExitCode.DONE == seen.state.exit_code


def test_a_stop_before_anything_was_started_ends_at_once() -> None:
    """With no child there is nothing to wait for."""
    seen = replay([(0.0, TERM)])

    assert [ev.Finish()] == seen.acts
    assert ExitCode.DONE == seen.state.exit_code


def test_nothing_is_started_while_the_service_stops() -> None:
    """What ends during a stop stays away, however it ends."""
    seen = replay(serving(3), workers=3).then((10.0, TERM))
    seen.all_effects.clear()
    seen.then(
        (11.0, ev.WorkerEnded(0, KILLED, 0)),
        (11.0, ev.WorkerEnded(1, CRASHED, 0)),
        (11.0, ev.ZygoteEnded(1, CRASHED)),
        (100.0, ev.DeadlinePassed()),
    )

    assert [ev.KillWorker(2)] == [
        effect for effect in seen.all_effects if not isinstance(effect, ev.Say)
    ]


def test_a_failure_keeps_its_exit_code_through_a_stop() -> None:
    """Why the service ends is decided once: a later INT, even a forced end, hides no failed boot."""
    seen = replay(loaded()).then(
        (0.0, ev.WorkerForked(0, 200)),
        (1.0, ev.WorkerBootFailed(0, "no", "")),
        (1.1, INT),
        (1.2, ev.WorkerEnded(0, KILLED, 0)),
        (1.2, ev.ZygoteEnded(1, KILLED)),
    )

    assert seen.state.phase is Phase.FINISHED
    assert ExitCode.BOOT_FAILED == seen.state.exit_code


def test_a_refusal_during_a_stop_promises_no_other_try() -> None:
    """A fork that is refused while the service stops is simply one worker less to wait for."""
    seen = replay(loaded()).then((1.0, TERM), (1.1, ev.ForkRefused(0, "Try again")))

    assert [ev.ForgetWorker(0)] == seen.acts
