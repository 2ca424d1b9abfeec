"""Reload, scale and restart, as event histories."""

from __future__ import annotations

import dataclasses

import pytest
from support.histories import (
    BOOT_FAILED,
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

from tornado_multi.process.messages import Drained
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import Limits, Phase, ReloadReport, ReloadStep

SAME = ev.SettingsRead(LIMITS, None)


def reloading(workers: int = 3) -> Replay:
    """Serve with generation 1 and ask for a reload; the settings are as they were."""
    return replay(serving(workers), workers=workers).then(
        (10.0, ev.ReloadAsked("SIGHUP")), (10.0, SAME)
    )


def canary(workers: int = 3) -> Replay:
    """... up to the moment when the canary (row = workers) has been asked for."""
    return reloading(workers).then(
        (11.0, ev.ZygoteSpawned(2, 102)), (11.5, ev.ZygoteLoaded(2, 1.5))
    )


def rolling(workers: int = 3) -> Replay:
    """... up to the moment when the canary is ready and the roll begins."""
    return canary(workers).then(*started_worker(workers, at_s=11.6))


def left(row: int, at_s: float) -> list[Moment]:
    """A worker that was told to leave drains and ends."""
    report = Drained(0.1, 1, 1, 0, 0, 0)
    return [
        (at_s, ev.WorkerDraining(row)),
        (at_s, ev.WorkerDrained(row, report)),
        (at_s, ev.WorkerEnded(row, LEFT, 5)),
    ]


def report_of(seen: Replay) -> ReloadReport:
    assert seen.state.reload is None
    assert seen.state.last_reload is not None
    return seen.state.last_reload


def generations(seen: Replay) -> list[int]:
    return sorted(item.generation for item in seen.state.workers.values() if not item.leaving)


# --- a reload that succeeds -----------------------------------------------------------------------


def test_a_reload_reads_the_settings_first() -> None:
    """The same sources, as they are now; nothing is touched before they can be read."""
    seen = replay(serving()).then((10.0, ev.ReloadAsked("SIGHUP")))

    assert [ev.ReadSettings()] == seen.acts

    seen.then((10.0, SAME))

    assert [ev.StartZygote(2)] == seen.effects


def test_one_canary_boots_beside_the_old_workers() -> None:
    """Until it is ready, nothing of the old generation is told anything."""
    seen = canary()

    assert [ev.ForkWorker(2, 3, 0, is_canary=True)] == seen.acts

    seen.then((11.6, ev.WorkerForked(3, 203)))

    assert [] == seen.effects
    assert [1, 1, 1, 2] == generations(seen)


def test_the_roll_goes_on_as_successors_get_ready() -> None:
    """A fork_id's old worker drains as soon as its successor is ready; max_surge at once (25 %)."""
    seen = rolling()

    assert [ev.DrainWorker(0, 30.0), ev.ForkWorker(2, 4, 1)] == seen.acts

    seen.then(*started_worker(4, at_s=11.7))

    assert [ev.DrainWorker(1, 30.0), ev.ForkWorker(2, 5, 2)] == seen.acts

    seen.then(*started_worker(5, at_s=11.8))

    assert [ev.DrainWorker(2, 30.0), ev.ReleaseZygote(1)] == sorted(seen.acts, key=repr)
    assert seen.state.reload is not None
    assert ReloadStep.DRAINING is seen.state.reload.step


@pytest.mark.parametrize(("surge", "expected"), [("1", 1), ("2", 2), ("50%", 2), ("100%", 3)])
def test_the_surge_bounds_what_starts_at_once(surge: str, expected: int) -> None:
    """At most so many replacements are starting at once; draining ones don't hold up the roll."""
    limits = dataclasses.replace(LIMITS, max_surge=surge)
    seen = replay(serving(4), workers=4).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(limits, None)),
        (10.1, ev.ZygoteLoaded(2, 0.1)),
        *started_worker(4, at_s=10.2),
    )

    assert expected == sum(isinstance(effect, ev.ForkWorker) for effect in seen.acts)


@pytest.mark.parametrize(
    ("surge", "workers", "expected"),
    [("25%", 1, 1), ("25%", 4, 1), ("25%", 5, 2), ("100%", 7, 7), ("1", 9, 1), ("20", 9, 20)],
)
def test_the_surge_is_a_number_or_a_share(surge: str, workers: int, expected: int) -> None:
    """A share is rounded up, so that a reload always goes on."""
    assert expected == Limits(60.0, 30.0, max_surge=surge).surge(workers)


def test_a_reload_is_over_when_the_old_workers_have_left() -> None:
    """The report counts what drained and what was cut, and how long each part took."""
    seen = rolling(2).then(*started_worker(3, at_s=11.7))

    assert "draining" == seen.state.reload.step if seen.state.reload else False

    seen.then(*left(0, 12.0), *left(1, 13.0))

    assert ReloadReport(
        number=1,
        succeeded=True,
        generation=2,
        duration_s=3.0,
        import_s=1.5,
        canary_s=pytest.approx(0.1),  # type: ignore[arg-type]
        drained=2,
        cut=0,
        notes=[],
    ) == report_of(seen)
    assert [2, 2] == generations(seen)

    seen.then((13.1, ev.ZygoteEnded(1, LEFT)))

    assert [] == seen.effects
    assert next_deadline_s(seen.state) is None


def test_an_old_worker_that_does_not_leave_is_killed() -> None:
    """The drain's deadline holds for a reload too; the reload has succeeded all the same."""
    seen = rolling(1).then((10.0, ev.ZygoteEnded(1, LEFT)), (43.7, ev.DeadlinePassed()))

    assert [ev.KillWorker(0)] == seen.acts

    seen.then((43.8, ev.WorkerEnded(0, KILLED, 5)))

    assert report_of(seen).succeeded


def test_the_next_death_is_replaced_by_new_code() -> None:
    """After the commit the old generation is history."""
    seen = rolling(1).then(*left(0, 12.0), (13.0, ev.WorkerEnded(1, KILLED, 0)))

    assert [ev.ForkWorker(2, 0, 0)] == seen.acts


def test_a_second_reload_replaces_the_first_ones_workers() -> None:
    """Generations go up; each reload leaves one zygote."""
    seen = rolling(1).then(*left(0, 12.0), (12.0, ev.ZygoteEnded(1, LEFT)))
    seen.then((20.0, ev.ReloadAsked("SIGHUP")), (20.0, SAME), (20.1, ev.ZygoteLoaded(3, 0.1)))

    assert [ev.ForkWorker(3, 0, 0, is_canary=True)] == seen.acts

    seen.then(*started_worker(0, at_s=20.2))

    assert [ev.DrainWorker(1, 30.0), ev.ReleaseZygote(2)] == sorted(seen.acts, key=repr)


def test_reloads_asked_for_meanwhile_become_one() -> None:
    """However often it is asked for: one more, after this one."""
    seen = rolling(1).then((11.7, ev.ReloadAsked("SIGHUP")), (11.8, ev.ReloadAsked("SIGHUP")))

    assert [] == seen.effects
    assert seen.state.reload_queued

    seen.then(*left(0, 12.0))

    assert [ev.ReadSettings()] == seen.acts
    assert not seen.state.reload_queued

    seen.then((12.0, SAME), (12.1, ev.ZygoteLoaded(3, 0.1)), *started_worker(0, at_s=12.2))
    seen.then(*left(1, 12.3))

    assert 2 == report_of(seen).number
    assert [] == seen.acts


def test_a_reload_asked_for_during_the_boot_waits_for_it() -> None:
    """A HUP that comes early is not lost, and does not disturb the first start."""
    seen = replay(serving()[:-1]).then((0.5, ev.ReloadAsked("SIGHUP")))

    assert [] == seen.effects

    seen.then((1.0, ev.WorkerReady(0)))

    assert [ev.AnnounceReady(), ev.ReadSettings()] == seen.acts


def test_changed_settings_hold_for_the_new_generation() -> None:
    """Limits are the new ones at once; what only a restart can change is said, and in the report.

    A new number of workers counts once the canary is ready: no old-generation worker is forked.
    """
    limits = Limits(boot_timeout_s=5.0, drain_timeout_s=7.0)
    seen = replay(serving()).then(
        (10.0, ev.ReloadAsked("SIGHUP")), (10.0, ev.SettingsRead(limits, 2, ("bind has changed.",)))
    )

    assert ["warning supervisor: bind has changed."] == seen.said
    assert [ev.StartZygote(2)] == seen.acts
    assert 15.0 == seen.state.zygotes[2].deadline_s

    seen.then((10.5, ev.ZygoteLoaded(2, 0.1)))
    row = max(seen.state.workers)
    seen.then((10.6, ev.WorkerForked(row, 300)), (10.7, ev.WorkerReady(row)))

    assert [1] == [act.fork_id for act in seen.acts if isinstance(act, ev.ForkWorker)]
    assert (2, ["bind has changed."]) == (
        seen.state.desired_workers,
        seen.state.reload.notes if seen.state.reload else None,
    )


# --- a reload that fails --------------------------------------------------------------------------


def assert_nothing_was_changed(seen: Replay, reason: str) -> None:
    report = report_of(seen)

    assert (False, 1, reason) == (report.succeeded, report.generation, report.reason)
    assert [] == [effect for effect in seen.all_effects if isinstance(effect, ev.DrainWorker)]
    assert seen.state.phase is Phase.SERVING
    assert (0, 0) == (seen.state.exit_code, seen.state.zygote_failures)


def test_settings_that_can_not_be_read_fail_the_reload() -> None:
    """Before anything is started."""
    seen = replay(serving()).then(
        (10.0, ev.ReloadAsked("SIGHUP")), (10.0, ev.SettingsRefused("broken"))
    )

    assert [] == seen.acts
    assert_nothing_was_changed(seen, "broken")


@pytest.mark.parametrize(
    ("moments", "reason"),
    [
        (
            [(10.0, ev.ZygoteRefused(2, "no memory"))],
            "The system refused to start the zygote: no memory.",
        ),
        (
            [
                (11.0, ev.ZygoteLoadFailed(2, "SyntaxError", "Traceback", usage=False)),
                (11.0, ev.ZygoteEnded(2, LEFT)),
            ],
            "SyntaxError",
        ),
        (
            [(11.0, ev.ZygoteEnded(2, CRASHED))],
            "The zygote was ended by SIGSEGV while it imported the app.",
        ),
        (
            [(11.0, ev.ZygoteEnded(2, KILLED))],
            "The zygote was ended by SIGKILL while it imported the app.",
        ),
        (
            [(70.1, ev.DeadlinePassed()), (70.2, ev.ZygoteEnded(2, KILLED))],
            "Importing the app did not finish within 60 s (boot_timeout_s).",
        ),
    ],
    ids=["refused", "import fails", "crash", "killed", "too slow"],
)
def test_an_import_that_fails_changes_nothing(moments: list[Moment], reason: str) -> None:
    """The old generation serves on as if nothing had been; no backoff, no second try."""
    seen = reloading().then(*moments)

    assert_nothing_was_changed(seen, reason)
    assert [1] == list(seen.state.zygotes)
    assert next_deadline_s(seen.state) is None


def test_the_traceback_of_a_failed_reload_is_kept() -> None:
    """The command prints it; the log has it."""
    seen = reloading().then((11.0, ev.ZygoteLoadFailed(2, "SyntaxError", "Traceback", usage=False)))

    assert "Traceback" == report_of(seen).detail
    assert [
        "error supervisor: The reload failed: SyntaxError\nTraceback\nGeneration 1 serves on."
    ] == seen.said


@pytest.mark.parametrize(
    ("moments", "reason"),
    [
        (
            [(12.0, ev.ForkRefused(3, "no memory"))],
            "The system refused to fork worker 0: no memory.",
        ),
        (
            [
                (12.0, ev.WorkerForked(3, 203)),
                (12.0, ev.WorkerBootFailed(3, "The factory raised.", "Traceback")),
                (12.0, ev.WorkerEnded(3, BOOT_FAILED, 0)),
            ],
            "The factory raised.",
        ),
        (
            [(12.0, ev.WorkerForked(3, 203)), (12.0, ev.WorkerEnded(3, CRASHED, 0))],
            "Worker 0 was ended by SIGSEGV before it was ready.",
        ),
        (
            [
                (12.0, ev.WorkerForked(3, 203)),
                (72.0, ev.DeadlinePassed()),
                (72.1, ev.WorkerEnded(3, KILLED, 0)),
            ],
            "Worker 0 was killed: it did not report ready within 60 s (boot_timeout_s).",
        ),
    ],
    ids=["refused", "factory", "crash", "too slow"],
)
def test_a_canary_that_fails_takes_the_new_generation_down(
    moments: list[Moment], reason: str
) -> None:
    """No old worker was told to leave; the new zygote is let go."""
    seen = canary().then(*moments)

    assert ev.ReleaseZygote(2) in seen.all_effects

    seen.then((80.0, ev.ZygoteEnded(2, LEFT)))

    assert (False, reason) == (report_of(seen).succeeded, report_of(seen).reason)
    assert [1, 1, 1] == generations(seen)
    (line,) = [
        effect
        for effect in seen.all_effects
        if isinstance(effect, ev.Say) and effect.text.startswith("The reload failed: ")
    ]
    assert ("refused" in reason) == ("death" not in line.extra), "machines read who is to blame"
    assert {ev.DrainWorker(3, 0.0)} >= {
        effect for effect in seen.all_effects if isinstance(effect, ev.DrainWorker)
    }


def test_a_failure_in_the_roll_is_rolled_back() -> None:
    """fork_ids already replaced are forked again from the old zygote; then the new ones drain."""
    seen = rolling().then(*left(0, 11.7), *started_worker(4, at_s=11.8)[:1])
    seen.then((11.9, ev.WorkerBootFailed(4, "no", "")))

    assert [ev.ReleaseZygote(2), ev.DrainWorker(4, 0.0), ev.ForkWorker(1, 0, 0)] == seen.acts
    assert not seen.state.workers[3].leaving, (
        "the only one of fork_id 0 until its successor is ready"
    )

    seen.then((12.0, ev.WorkerEnded(4, BOOT_FAILED, 0)), *started_worker(0, at_s=12.1))

    assert [ev.DrainWorker(3, 30.0)] == seen.acts

    seen.then(*left(3, 12.2), (12.3, ev.ZygoteEnded(2, LEFT)))

    assert (False, "no", 1) == (
        report_of(seen).succeeded,
        report_of(seen).reason,
        report_of(seen).generation,
    )
    assert [1, 1, 1] == generations(seen)


def test_a_new_worker_that_dies_young_fails_the_reload() -> None:
    """Ready is not enough while the roll goes on: code that crashes at once is not rolled out."""
    seen = rolling().then((11.7, ev.WorkerEnded(3, CRASHED, 0)))

    assert [ev.ReleaseZygote(2), ev.DrainWorker(4, 0.0), ev.ForkWorker(1, 3, 0)] == sorted(
        seen.acts, key=lambda effect: ["Rel", "Dra", "For"].index(type(effect).__name__[:3])
    )


def test_a_new_worker_killed_from_outside_does_not_fail_the_reload() -> None:
    """The OOM killer does not judge new code: it is forked again, from the new zygote."""
    seen = rolling().then((11.7, ev.WorkerEnded(3, KILLED, 0)))

    assert [ev.ForkWorker(2, 3, 0)] == seen.acts


def test_the_service_goes_on_after_a_failed_reload() -> None:
    """The next death is replaced by old code, the next reload begins afresh."""
    seen = reloading(1).then(
        (11.0, ev.ZygoteEnded(2, CRASHED)), (12.0, ev.WorkerEnded(0, KILLED, 0))
    )

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts

    seen.then(*started_worker(0, at_s=12.1), (13.0, ev.ReloadAsked("SIGHUP")), (13.0, SAME))

    assert [ev.StartZygote(3)] == seen.acts

    seen.then((14.0, ev.ZygoteLoaded(3, 1.0)), *started_worker(1, at_s=14.1), *left(0, 14.2))

    assert (True, 3) == (report_of(seen).succeeded, report_of(seen).generation)


# --- a reload that crosses with other things ------------------------------------------------------


@pytest.mark.parametrize("asked", [TERM, INT], ids=["TERM", "INT"])
@pytest.mark.parametrize("begun", [reloading, canary, rolling])
def test_a_stop_ends_a_reload(begun: object, asked: ev.StopAsked) -> None:
    """Everything of both generations leaves; nothing is started any more."""
    seen = begun().then((20.0, ev.ReloadAsked("SIGHUP")), (20.0, asked))  # type: ignore[operator]
    seen.all_effects.clear()
    for row in list(seen.state.workers):
        seen.then((20.1, ev.WorkerForked(row, 200 + row)), (20.2, ev.WorkerEnded(row, LEFT, 0)))
    for generation in list(seen.state.zygotes):
        seen.then((20.3, ev.ZygoteEnded(generation, LEFT)))

    assert seen.state.phase is Phase.FINISHED
    assert 0 == seen.state.exit_code
    assert [ev.CloseListeners(), ev.Finish()] == seen.all_effects or [
        ev.Finish()
    ] == seen.all_effects


def test_an_old_worker_that_dies_during_the_import_is_replaced_by_old_code() -> None:
    """The trial is not over: nobody waits for it."""
    seen = reloading().then((10.5, ev.WorkerEnded(1, KILLED, 0)))

    assert [ev.ForkWorker(1, 1, 1)] == seen.acts


def test_an_old_zygote_that_dies_during_the_import_is_not_missed() -> None:
    """The new one may take its place: no third one is started, and no pause makes the loop spin."""
    seen = reloading().then((10.5, ev.ZygoteEnded(1, CRASHED)))

    assert [] == seen.acts
    assert 70.0 == next_deadline_s(seen.state)

    seen.then((11.6, ev.DeadlinePassed()))

    assert [] == seen.acts
    assert 70.0 == next_deadline_s(seen.state)


def test_an_old_zygote_that_is_lost_is_replaced_when_the_reload_fails() -> None:
    """With the pause that its own end earned."""
    seen = reloading().then((10.5, ev.ZygoteEnded(1, KILLED)), (11.0, ev.ZygoteEnded(2, CRASHED)))

    assert [ev.StartZygote(3)] == seen.acts


def test_a_zygote_that_is_replaced_while_settings_are_read_is_old() -> None:
    """A lost zygote's successor is no part of the reload that follows: it is let go with the old."""
    seen = replay(serving()).then(
        (10.0, ev.ReloadAsked("SIGHUP")), (10.0, ev.ZygoteEnded(1, KILLED)), (10.0, SAME)
    )

    assert [2, 3] == list(seen.state.zygotes)

    seen.then(
        (11.0, ev.ZygoteLoaded(2, 0.1)),
        (11.0, ev.ZygoteLoaded(3, 0.2)),
        *started_worker(1, at_s=11.1),
    )

    assert ev.ReleaseZygote(2) in seen.acts

    seen.then(*left(0, 12.0))

    assert (True, 0.2) == (report_of(seen).succeeded, report_of(seen).import_s)


# --- scale ----------------------------------------------------------------------------------------


def test_scaling_up_forks_what_is_missing() -> None:
    """New fork_ids follow the old ones; who serves is left alone."""
    seen = replay(serving(2), workers=2).then((10.0, ev.ScaleAsked(4)))

    assert [ev.ForkWorker(1, 2, 2), ev.ForkWorker(1, 3, 3)] == seen.acts


def test_scaling_down_drains_the_last_ones() -> None:
    """The highest fork_ids go; what their workers counted stays in the total."""
    seen = replay(serving(3), workers=3).then((10.0, ev.ScaleAsked(1)))

    assert [ev.DrainWorker(1, 30.0), ev.DrainWorker(2, 30.0)] == seen.acts

    seen.then(*left(1, 11.0), *left(2, 11.0))

    assert [] == seen.acts
    assert [0] == list(seen.state.places)
    assert 10 == seen.state.past_requests


def test_a_place_that_comes_back_starts_with_a_clean_record() -> None:
    """A fork_id that was scaled away has no backoff left."""
    seen = replay(serving(2), workers=2).then(
        (10.0, ev.WorkerEnded(1, CRASHED, 0)), (10.1, ev.ScaleAsked(1)), (10.2, ev.ScaleAsked(2))
    )

    assert [ev.ForkWorker(1, 1, 1)] == seen.acts


def test_scaling_down_during_the_boot_can_end_it() -> None:
    """Who was still awaited is not wanted any more: the others are all there is."""
    seen = replay(serving(2)[:-1], workers=2).then((1.0, ev.ScaleAsked(1)))

    assert seen.state.phase is Phase.SERVING
    assert ev.AnnounceReady() in seen.acts


def test_a_stopping_service_does_not_scale() -> None:
    """It is on its way out."""
    seen = replay(serving()).then((10.0, TERM), (10.1, ev.ScaleAsked(5)))

    assert [] == seen.effects
    assert 1 == seen.state.desired_workers


# --- restart --------------------------------------------------------------------------------------


def test_a_restart_starts_the_successor_first() -> None:
    """The old worker drains when its successor is ready, and its generation is still good."""
    seen = replay(serving(2), workers=2).then((10.0, ev.RestartAsked(1)))

    assert [ev.ForkWorker(1, 2, 1)] == seen.acts

    seen.then(*started_worker(2, at_s=10.1))

    assert [ev.DrainWorker(1, 30.0)] == seen.acts

    seen.then(*left(1, 11.0))

    assert [] == seen.acts
    assert [0, 2] == sorted(seen.state.workers)


def test_a_restart_ends_a_pause() -> None:
    """Whoever asks by hand has mended something."""
    seen = replay(serving()).then((10.0, ev.WorkerEnded(0, CRASHED, 0)), (10.1, ev.RestartAsked(0)))

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts


def test_a_restart_whose_successor_fails_pauses_between_tries() -> None:
    """The old worker serves on; a successor that can't boot is not tried in a tight loop."""
    seen = replay(serving()).then(
        (10.0, ev.RestartAsked(0)),
        (10.0, ev.WorkerForked(1, 201)),
        (10.1, ev.WorkerBootFailed(1, "no", "")),
        (10.1, ev.WorkerEnded(1, BOOT_FAILED, 0)),
    )

    assert [] == seen.acts
    assert not seen.state.workers[0].leaving
    assert 11.1 == next_deadline_s(seen.state)

    seen.then((11.1, ev.DeadlinePassed()))

    assert [ev.ForkWorker(1, 1, 0)] == seen.acts


def test_a_restart_of_a_fork_id_that_is_not_there_does_nothing() -> None:
    """It may have been scaled away meanwhile."""
    seen = replay(serving()).then((10.0, ev.RestartAsked(7)))

    assert [] == seen.effects


def test_a_rollback_to_code_that_does_not_boot_any_more_ends() -> None:
    """The reload fails with a note, and the next one can begin."""
    seen = replay(serving(2), workers=2).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, SAME),
        (10.5, ev.ZygoteLoaded(2, 0.1)),
        (10.6, ev.WorkerForked(2, 300)),
        (10.7, ev.WorkerReady(2)),
        (10.8, ev.WorkerEnded(0, LEFT, 0)),
        (10.9, ev.WorkerForked(3, 301)),
        (11.0, ev.WorkerBootFailed(3, "no", "")),
        (11.1, ev.WorkerEnded(3, BOOT_FAILED, 0)),
    )
    row = next(row for row, item in seen.state.workers.items() if item.generation == 1 and row != 1)
    seen.then(
        (11.2, ev.WorkerBootFailed(row, "old no", "")), (11.3, ev.WorkerEnded(row, BOOT_FAILED, 0))
    )
    report = report_of(seen)

    assert (False, "no") == (report.succeeded, report.reason)
    assert ["does not boot any more" in note for note in report.notes] == [True]

    seen.then((12.0, ev.ReloadAsked("SIGHUP")))

    assert [ev.ReadSettings()] == seen.acts


def test_a_failed_reload_brings_the_old_settings_back() -> None:
    """Limits and the number of workers are what they were."""
    limits = Limits(boot_timeout_s=5.0, drain_timeout_s=7.0)
    seen = replay(serving()).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(limits, 3)),
        (10.5, ev.ZygoteLoaded(2, 0.1)),
    )
    row = max(seen.state.workers)
    seen.then((10.6, ev.WorkerForked(row, 300)), (10.7, ev.WorkerReady(row)))
    assert 3 == seen.state.desired_workers
    fresh = max(seen.state.workers)
    seen.then((10.8, ev.WorkerForked(fresh, 301)), (10.9, ev.WorkerBootFailed(fresh, "no", "")))

    assert (1, LIMITS) == (seen.state.desired_workers, seen.state.limits)
    assert ev.RestoreSettings() in seen.effects


# --- reloads of a service whose workers wear out all the time -------------------------------------


WORN = "it has answered 5 requests (max_requests)"


def test_a_reload_gets_to_every_fork_id_however_fast_the_new_workers_wear_out() -> None:
    """The oldest worker is replaced first; else the first fork_ids would have the surge for ever."""
    seen = rolling().then((11.65, ev.WorkerWorn(3, WORN)), *started_worker(4, at_s=11.7))
    forked = [item.fork_id for item in seen.all_effects if isinstance(item, ev.ForkWorker)]

    assert [0, 1, 2, 0, 1, 2] == forked


def test_a_place_whose_new_worker_is_worn_has_been_ready() -> None:
    """The reload is committed: what serves there is new."""
    seen = rolling(2).then((11.65, ev.WorkerWorn(2, WORN)), *started_worker(3, at_s=11.7))

    assert seen.state.reload is not None
    assert ReloadStep.DRAINING is seen.state.reload.step


def test_a_reload_waits_for_no_worn_worker_of_its_own_generation() -> None:
    """There may always be one; the old workers' drains are waited for, also of worn ones."""
    seen = replay(serving(2), workers=2).then(
        (9.9, ev.WorkerWorn(1, WORN)),
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, SAME),
        (11.5, ev.ZygoteLoaded(2, 1.5)),
    )
    for at_s in (11.6, 11.7, 11.8):
        for row in [row for row, item in seen.state.workers.items() if item.pid is None]:
            seen.then(*started_worker(row, at_s=at_s))
    new = [row for row, item in seen.state.workers.items() if item.generation == 2]
    old = [row for row, item in seen.state.workers.items() if item.generation == 1]
    seen.then(*[(12.0, ev.WorkerWorn(row, WORN)) for row in new])

    assert seen.state.reload is not None

    seen.then(*[moment for row in old for moment in left(row, 12.1)])

    assert report_of(seen).succeeded
    assert 2 == report_of(seen).generation


def test_the_generation_that_serves_is_known_while_its_only_worker_is_replaced() -> None:
    """Until its successor is ready, the worn one takes requests."""
    seen = replay(serving()).then((10.0, ev.WorkerWorn(0, WORN)))

    assert 1 == seen.state.serving_generation()
