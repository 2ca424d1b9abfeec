"""The first boot, and how it can fail, as event histories."""

from __future__ import annotations

import dataclasses

import pytest
from support.histories import (
    BOOT_FAILED,
    CRASHED,
    FAILED,
    KILLED,
    LEFT,
    Moment,
    Replay,
    importing,
    loaded,
    replay,
)

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import Failure, Phase, WorkerState, ZygoteState

# --- first boot -----------------------------------------------------------------------------------


def test_a_service_begins_with_its_first_zygote() -> None:
    """Nothing but a zygote can be started first: it has the app that workers need."""
    seen = replay([(0.0, ev.Started())], workers=4)

    assert [ev.StartZygote(1)] == seen.acts
    assert seen.state.phase is Phase.BOOTING


def test_workers_are_forked_when_the_app_is_imported() -> None:
    """Each fork_id gets one worker, each of which gets a row of its own."""
    seen = replay(loaded(), workers=3)

    assert [ev.ForkWorker(1, 0, 0), ev.ForkWorker(1, 1, 1), ev.ForkWorker(1, 2, 2)] == seen.acts


def test_the_service_is_ready_when_every_fork_id_is() -> None:
    """Readiness is announced once, by the last worker's word."""
    seen = replay(loaded(), workers=2).then((0.5, ev.WorkerReady(1)))

    assert [] == seen.effects
    assert seen.state.phase is Phase.BOOTING

    seen.then((0.6, ev.WorkerReady(0)))

    assert [ev.AnnounceReady()] == seen.acts
    assert seen.state.phase is Phase.SERVING

    seen.then((0.7, ev.WorkerReady(0)), (0.7, ev.WorkerReady(1)))

    assert [] == seen.effects


def test_what_a_process_said_of_itself_is_kept() -> None:
    """Pids, import time and the moment of readiness are in the state, for status and for later."""
    seen = replay(
        [
            (1.0, ev.Started()),
            (1.0, ev.ZygoteSpawned(1, 77)),
            (1.5, ev.ZygoteLoaded(1, 0.5)),
            (1.6, ev.WorkerForked(0, 88)),
            (1.7, ev.WorkerReady(0)),
        ]
    )
    zygote, worker = seen.state.zygotes[1], seen.state.workers[0]

    assert (77, ZygoteState.READY, 1.5, 0.5) == (
        zygote.pid,
        zygote.state,
        zygote.ready_s,
        zygote.import_s,
    )
    assert (88, WorkerState.READY, 1.5, 1.7) == (
        worker.pid,
        worker.state,
        worker.started_s,
        worker.ready_s,
    )
    assert next_deadline_s(seen.state) is None


# --- a first boot that fails ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "code", "failure"),
    [
        (
            [
                *importing(),
                (1.0, ev.ZygoteLoadFailed(1, "no good", "Traceback", usage=False)),
                (1.0, ev.ZygoteEnded(1, LEFT)),
            ],
            ExitCode.BOOT_FAILED,
            Failure("no good", "Traceback"),
        ),
        (
            [
                *importing(),
                (1.0, ev.ZygoteLoadFailed(1, "There is no module 'shpo'.", "", usage=True)),
                (1.0, ev.ZygoteEnded(1, LEFT)),
            ],
            ExitCode.USAGE,
            Failure("There is no module 'shpo'.", ""),
        ),
        (
            [(0.0, ev.Started()), (0.0, ev.ZygoteRefused(1, "Out of memory"))],
            ExitCode.REFUSED_BY_SYSTEM,
            Failure("The system refused to start the zygote: Out of memory.", ""),
        ),
        (
            [*importing(), (1.0, ev.ZygoteEnded(1, CRASHED))],
            ExitCode.BOOT_FAILED,
            Failure("The zygote was ended by SIGSEGV while it imported the app.", ""),
        ),
        (
            [*loaded(), (1.0, ev.ZygoteEnded(1, CRASHED))],
            ExitCode.BOOT_FAILED,
            Failure("The zygote was ended by SIGSEGV.", ""),
        ),
        (
            [*loaded(), (1.0, ev.ForkRefused(0, "Try again")), (1.0, ev.ZygoteEnded(1, LEFT))],
            ExitCode.REFUSED_BY_SYSTEM,
            Failure("The system refused to fork worker 0: Try again.", ""),
        ),
        (
            [
                *loaded(),
                (1.0, ev.WorkerForked(0, 200)),
                (1.0, ev.WorkerBootFailed(0, "The factory raised.", "Traceback")),
                (1.0, ev.WorkerEnded(0, BOOT_FAILED, 0)),
                (1.0, ev.ZygoteEnded(1, LEFT)),
            ],
            ExitCode.BOOT_FAILED,
            Failure("The factory raised.", "Traceback"),
        ),
        (
            [
                *loaded(),
                (1.0, ev.WorkerForked(0, 200)),
                (1.0, ev.WorkerEnded(0, FAILED, 0)),
                (1.0, ev.ZygoteEnded(1, LEFT)),
            ],
            ExitCode.BOOT_FAILED,
            Failure("Worker 0 exited with code 1 before it was ready.", ""),
        ),
    ],
    ids=[
        "import fails",
        "nothing to import",
        "zygote refused",
        "zygote crashes in the import",
        "zygote crashes after it",
        "fork refused",
        "factory fails",
        "worker dies before ready",
    ],
)
def test_a_failure_at_the_first_boot_ends_the_service(
    history: list[Moment], code: ExitCode, failure: Failure
) -> None:
    """What can't boot is not tried again: the service ends, with its reason and its exit code."""
    seen = replay(history)

    assert failure == without_death(seen)
    assert code == seen.state.exit_code
    assert ev.Finish() == seen.all_effects[-1]
    assert seen.state.phase is Phase.FINISHED


def without_death(seen: Replay) -> Failure | None:
    failure = seen.state.failure
    return failure and dataclasses.replace(failure, death=None)


def test_the_failure_of_a_boot_has_the_death_that_is_to_blame() -> None:
    """Of the worker that was killed for it, not of a sibling that left with it; nothing is said twice."""
    seen = replay(loaded(), workers=2).then(
        (1.0, ev.WorkerForked(0, 200)),
        (1.0, ev.WorkerForked(1, 201)),
        (60.0, ev.DeadlinePassed()),
        (60.1, ev.WorkerEnded(0, KILLED, 0)),
        (60.1, ev.WorkerEnded(1, KILLED, 0)),
    )
    failure = seen.state.failure

    assert failure is not None
    assert (
        "Worker 0 was killed: it did not report ready within 60 s (boot_timeout_s)."
        == failure.reason
    )
    assert failure.death is not None
    assert (200, "did not report ready within 60 s (boot_timeout_s)", False) == tuple(
        failure.death[key] for key in ("pid", "kill_reason", "was_ready")
    )


def test_the_first_failure_is_the_one_that_is_told() -> None:
    """Four workers that fail alike give one reason and one traceback, not four."""
    history: list[Moment] = [
        *loaded(),
        *[(1.0, ev.WorkerForked(row, 200 + row)) for row in range(4)],
        *[(1.0, ev.WorkerBootFailed(row, f"worker {row} failed", "Tb")) for row in range(4)],
        *[(1.0, ev.WorkerEnded(row, BOOT_FAILED, 0)) for row in range(4)],
        (1.0, ev.ZygoteEnded(1, LEFT)),
    ]
    seen = replay(history, workers=4)

    assert Failure("worker 0 failed", "Tb") == without_death(seen)
    assert seen.state.failure is not None
    assert seen.state.failure.death is not None
    assert 200 == seen.state.failure.death["pid"]
    assert [] == [effect for effect in seen.all_effects if isinstance(effect, ev.Say)]
    assert ev.Finish() == seen.all_effects[-1]


def test_a_failed_boot_takes_the_other_workers_down_at_once() -> None:
    """A service that can't boot lets go of what already runs, without a drain."""
    seen = replay(loaded(), workers=2).then(
        (0.5, ev.WorkerReady(0)), (1.0, ev.WorkerBootFailed(1, "no", ""))
    )

    assert [ev.ReleaseZygote(1), ev.DrainWorker(0, 0.0), ev.DrainWorker(1, 0.0)] == seen.acts
    assert 3.0 == next_deadline_s(seen.state)


def test_an_import_that_does_not_end_is_killed() -> None:
    """The import has boot_timeout_s; then the zygote is killed and the failure says so."""
    seen = replay(importing())

    assert 60.0 == next_deadline_s(seen.state)

    seen.then((60.001, ev.DeadlinePassed()))

    assert [ev.KillZygote(1)] == seen.acts
    assert next_deadline_s(seen.state) is None

    seen.then((60.1, ev.ZygoteLoaded(1, 60.0)))

    assert [] == seen.effects

    seen.then((60.2, ev.ZygoteEnded(1, KILLED)))

    assert [ev.Finish()] == seen.acts
    assert ExitCode.BOOT_FAILED == seen.state.exit_code
    assert seen.state.failure is not None
    assert (
        "Importing the app did not finish within 60 s (boot_timeout_s)."
        == seen.state.failure.reason
    )


def test_a_zygote_that_reported_its_failure_but_stays_is_killed() -> None:
    """A zygote that can't load has the grace time to leave, no more."""
    seen = replay(importing()).then((1.0, ev.ZygoteLoadFailed(1, "no", "", usage=False)))

    assert 3.0 == next_deadline_s(seen.state)

    seen.then((3.001, ev.DeadlinePassed()))

    assert [ev.KillZygote(1)] == seen.acts


def test_a_worker_that_does_not_get_ready_is_killed() -> None:
    """A worker has boot_timeout_s from its fork to ready; at the first boot that is a failure."""
    seen = replay([*loaded(at_s=5.0), (5.0, ev.WorkerForked(0, 200))])

    assert 65.0 == next_deadline_s(seen.state)

    seen.then((65.001, ev.DeadlinePassed()))

    assert [ev.KillWorker(0)] == seen.acts

    seen.then((65.1, ev.WorkerEnded(0, KILLED, 0)))

    assert ExitCode.BOOT_FAILED == seen.state.exit_code
    assert seen.state.failure is not None
    assert "did not report ready within 60 s (boot_timeout_s)" in seen.state.failure.reason


def test_a_word_that_crosses_with_the_kill_does_not_make_a_worker_ready() -> None:
    """A worker that was sent KILL is as good as dead: the service is not announced for it."""
    seen = replay([*loaded(), (0.0, ev.WorkerForked(0, 200))]).then(
        (60.001, ev.DeadlinePassed()), (60.002, ev.WorkerReady(0))
    )

    assert [] == seen.effects
    assert seen.state.phase is Phase.BOOTING


def test_a_zygote_that_hangs_in_a_fork_is_killed_and_fails_the_boot() -> None:
    """A worker without a pid can't be killed: the zygote that owes the pid is, and that counts."""
    seen = replay(loaded()).then((0.0, ev.ForkSent(0)), (60.001, ev.DeadlinePassed()))

    assert [ev.KillZygote(1)] == seen.acts
    assert next_deadline_s(seen.state) is None

    seen.then((60.1, ev.ZygoteEnded(1, KILLED)))

    assert [ev.ForgetWorker(0), ev.Finish()] == seen.acts
    assert ExitCode.BOOT_FAILED == seen.state.exit_code
    assert Failure("The zygote hung while it forked a worker.", "") == seen.state.failure


def test_a_worker_killed_from_outside_during_the_boot_is_no_boot_failure() -> None:
    """The OOM killer and people don't decide whether the app boots: the place is tried again."""
    seen = replay([*loaded(), (0.0, ev.WorkerForked(0, 200))]).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0))
    )

    assert seen.state.failure is None
    assert 2.0 == next_deadline_s(seen.state)

    seen.then((2.001, ev.DeadlinePassed()))

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts


def test_a_zygote_killed_from_outside_during_the_boot_is_started_again() -> None:
    """Workers that it announced boot on; those that it did not are forked by the next zygote."""
    seen = replay([*loaded(), (0.0, ev.WorkerForked(0, 200))], workers=2).then(
        (1.0, ev.ZygoteEnded(1, KILLED))
    )

    assert [ev.ForgetWorker(1), ev.StartZygote(2)] == seen.acts

    seen.then((2.0, ev.ZygoteLoaded(2, 0.2)))

    assert [ev.ForkWorker(2, 1, 1)] == seen.acts


def test_a_fork_that_waits_behind_slow_ones_has_its_own_time() -> None:
    """The time to get ready begins when the command is sent; a queue is no hanging zygote."""
    seen = replay(loaded(), workers=2)
    seen.then((0.0, ev.ForkSent(0)), (50.0, ev.WorkerForked(0, 200)), (50.1, ev.WorkerReady(0)))
    seen.then((60.001, ev.DeadlinePassed()))

    assert [] == seen.acts

    seen.then((70.0, ev.ForkSent(1)))

    assert 130.0 == next_deadline_s(seen.state)


def test_time_in_which_we_did_not_run_counts_for_nobody() -> None:
    """After a suspension every deadline is later by its length."""
    seen = replay(loaded()).then((0.0, ev.ForkSent(0)), (500.0, ev.Suspended(440.0)))

    assert [] == seen.acts
    assert 500.0 == next_deadline_s(seen.state)
