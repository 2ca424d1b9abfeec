"""Hooks in the supervisor's decisions: who is asked to call them, and what their failures mean."""

from __future__ import annotations

import dataclasses
import signal

import pytest
from support.histories import (
    BOOT_FAILED,
    CRASHED,
    KILLED,
    LEFT,
    LIMITS,
    TERM,
    Moment,
    Replay,
    importing,
    replay,
    started_worker,
)

from tornado_multi.process.linux import ProcessEnd
from tornado_multi.process.messages import Drained
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.hook_calls import LONGEST_TEXT
from tornado_multi.supervisor.state import Phase, ReloadStep

BOTH = ("on_worker_exit", "on_reload")
HOOK_LIMITS = dataclasses.replace(LIMITS, hook_timeout_s=5.0)  # kill_grace_s is 2
DRAINED = Drained(0.1, 0, 0, 0, 0, 0)


def serving(workers: int = 1, hooks: tuple[str, ...] = BOTH) -> list[Moment]:
    """The history of a service up to serving, whose app has *hooks*."""
    history = [*importing(), (0.0, ev.ZygoteLoaded(1, 0.25, hooks))]
    return history + [moment for row in range(workers) for moment in started_worker(row, at_s=0.0)]


def begun(workers: int = 1, hooks: tuple[str, ...] = BOTH) -> Replay:
    return replay(serving(workers, hooks), workers=workers, limits=HOOK_LIMITS)


def reloading(made: Replay, hooks: tuple[str, ...] = BOTH) -> Replay:
    """Go on to the moment when the first new worker has been asked for (row 1)."""
    return made.then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(HOOK_LIMITS, None)),
        (10.0, ev.ZygoteSpawned(2, 102)),
        (10.0, ev.ZygoteLoaded(2, 0.1, hooks)),
    )


def calls(made: Replay, hook: str | None = None) -> list[ev.CallHook]:
    found = [effect for effect in made.all_effects if isinstance(effect, ev.CallHook)]
    return [call for call in found if hook in {None, call.hook}]


def crash(row: int, at_s: float, end: ProcessEnd = CRASHED) -> Moment:
    return (at_s, ev.WorkerEnded(row, end, 7, 1, "GET shop.Home"))


# --- on_worker_exit -------------------------------------------------------------------------------


def test_each_end_of_a_worker_is_told() -> None:
    """The zygote is asked for one process, with the report."""
    made = begun().then(crash(0, 100.0))
    call = calls(made)[0]

    assert (1, 1, 1, "on_worker_exit") == (
        len(calls(made)), call.generation, call.number, call.hook,
    )  # fmt: skip
    assert {
        "fork_id": 0,
        "pid": 200,
        "generation": 1,
        "end": "was ended by SIGSEGV",
        "exit_code": None,
        "signal": int(signal.SIGSEGV),
        "kill_reason": None,
        "was_asked": False,
        "was_ready": True,
        "uptime_s": 100.0,
        "requests": 7,
        "in_flight": 1,
        "route": "GET shop.Home",
        "lag_s": None,
        "beat_age_s": None,
        "pss_bytes": None,
        "oom": None,
        "stacks": None,
        "recycle_reason": None,
        "error": None,
        "restarts": 0,
    } == call.report
    assert isinstance(made.effects[-1], ev.ForkWorker)


def test_an_app_without_the_hook_is_not_asked() -> None:
    """No process is forked for nothing."""
    assert [] == calls(begun(hooks=()).then(crash(0, 100.0)))


def test_a_worker_without_a_place_is_told_too() -> None:
    """Scaled away: restarts are not known."""
    made = begun(2).then(
        (5.0, ev.ScaleAsked(1)),
        (6.0, ev.WorkerDrained(1, DRAINED)),
        (6.0, ev.WorkerEnded(1, LEFT, 0)),
    )

    assert (1, None, True) == (
        calls(made)[0].report["fork_id"],
        calls(made)[0].report["restarts"],
        calls(made)[0].report["was_asked"],
    )


def test_the_newest_zygote_that_has_proved_itself_is_asked() -> None:
    """Not the one of a reload whose canary is still to come; then that one, if it has the hook."""
    ready = [(11.5, ev.WorkerForked(2, 300)), (11.5, ev.WorkerReady(2))]
    trial = calls(reloading(begun(2)).then(crash(1, 11.0)))
    newest = calls(reloading(begun(2)).then(*ready, crash(1, 12.0)))
    older = calls(reloading(begun(2), hooks=()).then(*ready, crash(1, 12.0)))

    assert [1] == [call.generation for call in trial]
    assert [2] == [call.generation for call in newest]
    assert [1] == [call.generation for call in older]


def test_numbers_are_not_used_twice() -> None:
    """Two ends at once are two calls."""
    made = begun(2).then(crash(0, 100.0), crash(1, 100.0))

    assert [1, 2] == [call.number for call in calls(made)]
    assert {1, 2} == set(made.state.hook_calls)


# --- the life of a call ---------------------------------------------------------------------------


def test_a_call_that_ends_well_says_nothing() -> None:
    """Forked, ended with 0: forgotten."""
    made = begun().then(
        crash(0, 100.0), (100.1, ev.HookForked(1, 900)), (100.2, ev.HookEnded(1, LEFT))
    )

    assert [] == made.said
    assert {} == made.state.hook_calls


def test_a_call_that_failed_is_said_once() -> None:
    """Its own word comes before its end, which then says nothing."""
    made = begun().then(crash(0, 100.0), (100.1, ev.HookForked(1, 900)))
    made.then((100.2, ev.HookFailed("supervisor", None, "on_worker_exit", "It failed.", "line", 1)))
    said = made.said
    made.then((100.3, ev.HookEnded(1, ProcessEnd(exit_code=1))))

    assert ["error supervisor: It failed.\nline"] == said
    assert [] == made.said
    assert {} == made.state.hook_calls


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (CRASHED, "error supervisor: The process of on_worker_exit was ended by SIGSEGV."),
        (BOOT_FAILED, "error supervisor: The process of on_worker_exit exited with code 3."),
    ],
)
def test_a_call_that_dies_is_said(end: ProcessEnd, said: str) -> None:
    """How its process ended, in words."""
    made = begun().then(
        crash(0, 100.0), (100.1, ev.HookForked(1, 900)), (100.2, ev.HookEnded(1, end))
    )

    assert [said] == made.said


def test_a_call_that_does_not_end_is_killed() -> None:
    """At hook_timeout_s and the grace, once."""
    made = begun().then(crash(0, 100.0), (100.0, ev.HookForked(1, 900)))
    deadline_s = next_deadline_s(made.state)
    made.then((107.0, ev.DeadlinePassed()))
    acts = made.acts
    made.then((107.1, ev.DeadlinePassed()))
    again = made.acts
    made.then((107.2, ev.HookEnded(1, KILLED)))

    assert 107.0 == deadline_s
    assert [ev.KillHook(1)] == [act for act in acts if not isinstance(act, ev.ForkWorker)]
    assert [] == [act for act in again if isinstance(act, ev.KillHook)]
    assert [
        (
            "error supervisor: The process of on_worker_exit did not end within 5 s (hook_timeout_s) "
            "and was killed."
        )
    ] == made.said


def test_a_call_that_is_never_forked_is_given_up() -> None:
    """The zygote hangs: the channel is closed, so that a process that comes late leaves."""
    made = begun().then(crash(0, 100.0), (107.0, ev.DeadlinePassed()))

    assert ev.ForgetHook(1) in made.effects
    assert (
        "error supervisor: on_worker_exit could not be called: its zygote did not fork in time."
        in made.said
    )
    assert {} == made.state.hook_calls


def test_a_refused_fork_is_said() -> None:
    """The system's word."""
    made = begun().then(
        crash(0, 100.0), (100.1, ev.HookRefused(1, "Resource temporarily unavailable"))
    )

    assert [
        "error supervisor: on_worker_exit could not be called: Resource temporarily unavailable."
    ] == made.said
    assert [ev.ForgetHook(1)] == made.acts


def test_a_zygote_that_ends_takes_the_unborn_with_it() -> None:
    """A process that runs already is left to run; one that was not announced is given up."""
    made = begun(2).then(
        crash(0, 100.0),
        crash(1, 100.0),
        (100.1, ev.HookForked(1, 900)),
        (100.2, ev.ZygoteEnded(1, KILLED)),
    )

    assert [1] == [*made.state.hook_calls]
    assert ev.ForgetHook(2) in made.effects
    assert "error supervisor: on_worker_exit could not be called: its zygote ended." in made.said


def test_news_of_a_call_that_is_gone_is_ignored() -> None:
    """Messages and ends may cross."""
    made = begun().then(
        (1.0, ev.HookForked(9, 900)),
        (1.0, ev.HookEnded(9, CRASHED)),
        (1.0, ev.HookRefused(9, "no")),
    )

    assert [] == made.effects
    assert [] == made.said


def test_suspended_time_is_given_back() -> None:
    """A supervisor that did not run kills no hook for it."""
    made = begun().then(
        crash(0, 100.0),
        (100.0, ev.HookForked(1, 900)),
        (160.0, ev.Suspended(60.0)),
        (160.0, ev.DeadlinePassed()),
    )

    assert [] == [act for act in made.all_effects if isinstance(act, ev.KillHook)]
    assert 167.0 == made.state.hook_calls[1].deadline_s


def test_long_texts_are_cut() -> None:
    """A report must fit into a message: the end of a text tells more than its beginning."""
    made = reloading(begun())
    made.then(
        (11.0, ev.WorkerForked(1, 201)), (11.0, ev.WorkerBootFailed(1, "no", "x" * 100_000 + "end"))
    )
    made.then((11.1, ev.WorkerEnded(1, BOOT_FAILED, 0)))
    detail = calls(made, "on_reload")[0].report["detail"]

    assert LONGEST_TEXT == len(detail)
    assert detail.endswith("end")


# --- on_reload ------------------------------------------------------------------------------------


def test_a_reload_that_succeeded_is_told() -> None:
    """By the new generation's zygote, with the report of the status."""
    made = reloading(begun()).then(*started_worker(1, at_s=11.0))
    made.then((12.0, ev.WorkerDrained(0, DRAINED)), (12.0, ev.WorkerEnded(0, LEFT, 3)))
    call = calls(made, "on_reload")[0]
    report = made.state.last_reload

    assert report is not None
    assert 2 == call.generation
    assert dataclasses.asdict(report) == call.report
    assert 1 == len(calls(made, "on_reload"))


def test_a_reload_that_failed_is_told_by_the_old_zygote() -> None:
    """The new one has been released."""
    made = reloading(begun())
    made.then((11.0, ev.WorkerForked(1, 201)), (11.0, ev.WorkerBootFailed(1, "no", "")))
    made.then((11.1, ev.WorkerEnded(1, BOOT_FAILED, 0)))
    call = calls(made, "on_reload")[0]

    assert (1, False, "no") == (call.generation, call.report["succeeded"], call.report["reason"])


# --- failures of the others -----------------------------------------------------------------------


def hook_failed(generation: int, hook: str = "after_fork") -> ev.HookFailed:
    return ev.HookFailed("worker fork_id=0", generation, hook, f"{hook} failed: E.", "line 1")


def test_a_failure_is_said_with_its_traceback() -> None:
    """Who, why, where; nothing else happens."""
    made = begun().then((1.0, hook_failed(1)))

    assert ["error worker fork_id=0: after_fork failed: E.\nline 1"] == made.said
    assert [] == made.acts


@pytest.mark.parametrize("moment", ["importing", "booting"])
def test_a_failure_at_the_first_start_does_not_end_the_service(moment: str) -> None:
    """It is reported; the boot goes on."""
    made = replay(importing(), limits=HOOK_LIMITS)
    if moment == "booting":
        made.then((0.0, ev.ZygoteLoaded(1, 0.25)))
    made.then((1.0, hook_failed(1)))

    assert Phase.BOOTING is made.state.phase
    assert [] == made.acts


@pytest.mark.parametrize("hook", ["before_fork", "after_fork", "on_ready"])
def test_a_failure_of_the_first_new_worker_fails_the_reload(hook: str) -> None:
    """The old workers are not touched; the reason is the hook's."""
    made = reloading(begun()).then((11.0, ev.WorkerForked(1, 201)), (11.0, hook_failed(2, hook)))
    told = made.acts
    made.then((11.1, ev.WorkerReady(1)))  # it said so before it heard that it is to leave
    made.then((11.2, ev.WorkerEnded(1, LEFT, 0)))
    report = made.state.last_reload

    assert [ev.ReleaseZygote(2), ev.DrainWorker(1, 0.0)] == told
    assert report is not None
    assert (False, f"{hook} failed: E.", "line 1") == (
        report.succeeded,
        report.reason,
        report.detail,
    )
    assert [0] == [*made.state.workers]


def test_a_failure_during_the_import_fails_the_reload() -> None:
    """on_starting of the new generation: its zygote, still importing, is killed."""
    made = begun().then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(HOOK_LIMITS, None)),
        (10.0, ev.ZygoteSpawned(2, 102)),
        (10.5, hook_failed(2, "on_starting")),
    )

    assert ev.KillZygote(2) in made.effects
    assert made.state.last_reload is not None
    assert not made.state.last_reload.succeeded
    assert [0] == [*made.state.workers]


def test_a_failure_of_an_old_worker_does_not_fail_the_reload() -> None:
    """Its hooks are not those of the new code."""
    made = reloading(begun()).then((11.0, hook_failed(1, "on_drain")))

    assert made.state.reload is not None
    assert ReloadStep.CANARY is made.state.reload.step


def test_a_failure_after_the_commit_is_only_said() -> None:
    """Nothing can be taken back any more."""
    made = reloading(begun()).then(
        *started_worker(1, at_s=11.0), (11.1, hook_failed(2, "on_ready"))
    )

    assert made.state.reload is not None
    assert ReloadStep.DRAINING is made.state.reload.step
    assert 1 == len(made.said)


def test_a_failing_process_of_its_own_fails_no_reload() -> None:
    """on_worker_exit of anybody, while a reload is under way."""
    made = reloading(begun(2)).then(
        crash(1, 11.0), (11.1, ev.HookFailed("supervisor", None, "on_worker_exit", "no", "", 1))
    )

    assert made.state.reload is not None
    assert ReloadStep.CANARY is made.state.reload.step


# --- the stop -------------------------------------------------------------------------------------


def test_one_zygote_stays_for_the_last_exits() -> None:
    """It is released when the last worker and the last call have ended; then the service is over."""
    made = begun(2).then((20.0, TERM))
    at_once = made.acts
    made.then((21.0, ev.WorkerEnded(0, LEFT, 0)), (21.0, ev.WorkerEnded(1, LEFT, 0)))
    called = [call.number for call in calls(made)]
    made.then(
        (21.1, ev.HookForked(1, 900)), (21.1, ev.HookForked(2, 901)), (21.2, ev.HookEnded(1, LEFT))
    )
    before = made.acts
    made.then((21.3, ev.HookEnded(2, LEFT)))
    released = made.acts
    made.then((21.4, ev.ZygoteEnded(1, LEFT)))

    assert [] == [act for act in at_once if isinstance(act, ev.ReleaseZygote | ev.KillZygote)]
    assert [1, 2] == called
    assert [] == before
    assert [ev.ReleaseZygote(1)] == released
    assert [ev.Finish()] == made.acts


def test_without_the_hook_the_zygote_leaves_at_once() -> None:
    """It is not kept for nothing."""
    assert ev.ReleaseZygote(1) in begun(hooks=("on_reload",)).then((20.0, TERM)).acts


def test_a_zygote_that_dies_while_it_stays_does_not_hold_the_stop_up() -> None:
    """Then nobody can call the hook, and nobody waits for it."""
    made = begun().then(
        (20.0, TERM), (20.5, ev.ZygoteEnded(1, KILLED)), (21.0, ev.WorkerEnded(0, LEFT, 0))
    )

    assert [] == calls(made)
    assert [ev.Finish()] == made.acts


def test_a_hook_that_hangs_holds_the_stop_up_no_longer_than_its_deadline() -> None:
    """It is killed, and the service ends with 0."""
    made = begun().then(
        (20.0, TERM),
        (21.0, ev.WorkerEnded(0, LEFT, 0)),
        (21.0, ev.HookForked(1, 900)),
        (28.0, ev.DeadlinePassed()),
    )
    killed = made.acts
    made.then((28.1, ev.HookEnded(1, KILLED)), (28.2, ev.ZygoteEnded(1, LEFT)))

    assert [ev.KillHook(1)] == killed
    assert [ev.Finish()] == made.acts
    assert 0 == made.state.exit_code


def test_a_second_int_kills_the_calls_too() -> None:
    """Nobody waits for a hook who can't wait."""
    hurried = ev.StopAsked(int(signal.SIGINT), hurried=True)
    made = begun().then(
        (20.0, hurried),
        (20.1, ev.WorkerEnded(0, LEFT, 0)),
        (20.1, ev.HookForked(1, 900)),
        (22.0, hurried),
    )

    assert ev.KillHook(1) in made.effects
