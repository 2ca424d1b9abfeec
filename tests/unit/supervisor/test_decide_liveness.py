"""What silent loops and worn workers lead to, as event histories: no process, no clock."""

from __future__ import annotations

import dataclasses
import signal

import pytest
from support.histories import (
    CRASHED,
    KILLED,
    LEFT,
    LIMITS,
    TERM,
    Replay,
    loaded,
    replay,
    serving,
    started_worker,
)

from tornado_multi.process.linux import ProcessEnd
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.liveness import (
    ABORT_GRACE_S,
    REPORT_PAUSE_S,
    is_judged,
    is_notable,
)
from tornado_multi.supervisor.state import Worker, WorkerState

ABORTED = ProcessEnd(signal_number=signal.SIGABRT)
ROUTE = "GET shop.Basket"
THREADS = "Current thread 0x1 (most recent call first):"
STACKS = f"Fatal Python error: Aborted\n\n{THREADS}\n"


def look(
    *rows: int, age_s: float, is_stopped: bool = False, route: str | None = ROUTE
) -> ev.Looked:
    """A look that found these workers' last beats *age_s* ago."""
    return ev.Looked(
        tuple(ev.Sample(row, age_s, is_stopped=is_stopped, route=route) for row in rows)
    )


# --- silent loops ---------------------------------------------------------------------------------


def test_a_silent_loop_is_reported_and_nothing_is_killed() -> None:
    """At hang_warn_s its stacks go into the log; the worker may still come back."""
    seen = replay(serving(2), workers=2).then((10.0, look(0, age_s=1.0)))

    assert [ev.ReportHang(0, 1.0, ROUTE)] == seen.effects
    assert 9.0 == seen.state.workers[0].silent_since_s
    assert None is next_deadline_s(seen.state)


def test_one_silence_is_reported_once() -> None:
    """Later looks at the same silence say nothing."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0)))
    for at_s in range(11, 38):
        seen.then((float(at_s), look(0, age_s=at_s - 9.0)))

        assert [] == seen.effects


def test_a_loop_that_runs_again_is_said_with_the_length_of_its_silence() -> None:
    """Who has read the report wants to know how it went on."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0)), (14.0, look(0, age_s=0.1)))

    assert ["info worker fork_id=0 gen=1 pid=200: The event loop runs again, after 5.0 s."] == (
        seen.said
    )
    assert [] == seen.acts

    seen.then((14.2, look(0, age_s=0.3)))

    assert [] == seen.effects


def test_a_handler_that_blocks_again_and_again_fills_no_disk() -> None:
    """Within the pause a further silence is not said, nor its end; after the pause it is."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0)), (12.0, look(0, age_s=0.1)))
    for at_s in (13.0, 15.0, 17.0):
        seen.then((at_s, look(0, age_s=1.0)))

        assert [] == seen.effects

        seen.then((at_s + 1, look(0, age_s=0.1)))

        assert [] == seen.effects
    seen.then((10.0 + REPORT_PAUSE_S, look(0, age_s=1.0)))

    assert [ev.ReportHang(0, 1.0, ROUTE)] == seen.effects


def test_another_route_that_blocks_does_not_wait_for_the_pause() -> None:
    """Once for each: who blocks there would never be named by its line otherwise."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0)), (12.0, look(0, age_s=0.1)))
    seen.then((13.0, look(0, age_s=1.0, route="GET shop.Other")))

    assert [ev.ReportHang(0, 1.0, "GET shop.Other")] == seen.effects

    seen.then((14.0, look(0, age_s=0.1)), (15.0, look(0, age_s=1.0, route="GET shop.Other")))

    assert [] == seen.effects


def test_a_silence_that_outlasts_the_pause_is_reported_then() -> None:
    """A worker may block for long soon after a short block: that one must not go unexplained."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0)), (11.0, look(0, age_s=0.1)))
    seen.then((13.0, look(0, age_s=1.0)), (19.9, look(0, age_s=7.9)))

    assert [] == seen.effects

    seen.then((20.1, look(0, age_s=8.1)))

    assert [ev.ReportHang(0, 8.1, ROUTE)] == seen.effects

    seen.then((21.0, look(0, age_s=9.0)))

    assert [] == seen.effects


def test_each_worker_has_its_own_pause() -> None:
    """A sibling that blocks too is reported too."""
    seen = replay(serving(2), workers=2).then((10.0, look(0, age_s=1.0)))
    seen.then((10.2, look(0, 1, age_s=1.2)))

    assert [ev.ReportHang(1, 1.2, ROUTE)] == seen.effects


def test_a_stopped_process_is_said_to_be_stopped() -> None:
    """Its stacks can't be had and its route is not to blame."""
    seen = replay(serving()).then((10.0, look(0, age_s=1.0, is_stopped=True)))

    assert [
        (
            "warning worker fork_id=0 gen=1 pid=200: The process is stopped, for 1.0 s (SIGSTOP, or a "
            "debugger)."
        )
    ] == seen.said
    assert [] == seen.acts


# --- hung workers ---------------------------------------------------------------------------------


def hung(*, is_stopped: bool = False) -> Replay:
    """A worker whose loop was silent for hang_timeout_s."""
    return replay(serving(2), workers=2).then(
        (10.0, look(0, age_s=1.0, is_stopped=is_stopped)),
        (39.0, look(0, age_s=30.0, is_stopped=is_stopped)),
    )


def test_a_hung_worker_is_aborted_first_and_killed_after_a_grace() -> None:
    """ABRT lets faulthandler write the stacks once more; who outlives that gets KILL."""
    seen = hung()

    assert [ev.AbortWorker(0)] == seen.effects
    assert 39.0 + ABORT_GRACE_S == next_deadline_s(seen.state)

    seen.then((39.0 + ABORT_GRACE_S, ev.DeadlinePassed()))

    assert [ev.KillWorker(0)] == seen.acts
    assert None is next_deadline_s(seen.state)


def test_a_hung_worker_is_given_up_once() -> None:
    """Looks between ABRT and its end say and do nothing, also if its loop comes back."""
    seen = hung().then((39.2, look(0, age_s=30.2)), (39.4, look(0, age_s=0.1)))

    assert [] == seen.effects
    assert 39.0 + ABORT_GRACE_S == next_deadline_s(seen.state)


@pytest.mark.parametrize("end", [ABORTED, KILLED], ids=str)
def test_a_hung_worker_is_replaced_at_once_and_no_failure_of_the_start(end: ProcessEnd) -> None:
    """The next worker may serve for days: no pause, no count of young deaths."""
    seen = hung().then((39.5, ev.WorkerEnded(0, end, 7, 1, ROUTE, stacks=STACKS)))
    place = seen.state.places[0]

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts
    assert (1, 0, 7) == (place.restarts, place.failures, place.past_requests)
    assert [
        (
            "warning worker fork_id=0 gen=1 pid=200: The worker was killed: it had an event loop that "
            f"did not run for 30 s (hang_timeout_s), in {ROUTE}, with 1 request in flight ({ROUTE} ran "
            "last); replacing it."
        ),
        (
            "warning worker fork_id=0 gen=1 pid=200: Where its threads were when the supervisor ended "
            f"it:\n{THREADS}"
        ),
    ] == seen.said


def test_a_crash_is_said_before_its_last_words() -> None:
    """The reason comes first, then the stacks, in one order of severity: so also for a crash."""
    stacks = "Fatal Python error: Segmentation fault\n"
    seen = replay(serving()).then((5.0, ev.WorkerEnded(0, CRASHED, 0, stacks=stacks)))

    assert [
        (
            "error worker fork_id=0 gen=1 pid=200: The worker was ended by SIGSEGV, 1 young death in a "
            "row; next try in 1 s."
        ),
        f"error worker fork_id=0 gen=1 pid=200: Its last words:\n{stacks}",
    ] == seen.said


def test_a_worker_that_aborts_itself_has_crashed() -> None:
    """Only our own ABRT is no crash."""
    seen = replay(serving()).then((5.0, ev.WorkerEnded(0, ABORTED, 0, stacks=STACKS)))

    assert f"error worker fork_id=0 gen=1 pid=200: Its last words:\n{STACKS}" == seen.said[-1]


def test_a_worker_that_was_stopped_for_too_long_is_replaced_with_that_reason() -> None:
    """SIGSTOP for hang_timeout_s: the report says stopped and blames no route."""
    seen = hung(is_stopped=True).then((40.1, ev.WorkerEnded(0, KILLED, 0)))

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts
    assert "was killed: it was stopped for 30 s (hang_timeout_s)" == seen.state.places[0].last_end


def test_a_worker_that_hangs_at_its_every_start_is_slowed_down() -> None:
    """Ten hung workers a minute are replaced at once, further ones after a pause."""
    limits = dataclasses.replace(LIMITS, hang_timeout_s=2.0)
    seen = replay(serving(), limits=limits)
    for number in range(11):
        at_s = number * 5.0
        seen.then((at_s + 3.0, look(0, age_s=2.5)), (at_s + 3.5, ev.WorkerEnded(0, ABORTED, 0)))
        if number < 10:
            assert [ev.ForkWorker(1, 0, 0)] == seen.acts

            seen.then(*started_worker(0, at_s=at_s + 4.0))

    assert [] == seen.acts
    assert 54.5 == next_deadline_s(seen.state)


def test_who_was_killed_for_hanging_is_told_in_the_report_of_its_death() -> None:
    """Machines read why, the route, the figures and the stacks from one record."""
    seen = hung().then(
        (
            39.5,
            ev.WorkerEnded(
                0,
                ABORTED,
                7,
                1,
                ROUTE,
                lag_s=0.25,
                beat_age_s=30.5,
                pss_bytes=9_000_000,
                stacks=STACKS,
            ),
        )
    )
    (death,) = [
        effect.extra["death"]
        for effect in seen.effects
        if isinstance(effect, ev.Say) and "death" in effect.extra
    ]

    assert {
        "fork_id": 0,
        "pid": 200,
        "generation": 1,
        "signal": int(signal.SIGABRT),
        "exit_code": None,
        "kill_reason": f"had an event loop that did not run for 30 s (hang_timeout_s), in {ROUTE}",
        "was_asked": False,
        "was_ready": True,
        "uptime_s": 39.5,
        "requests": 7,
        "in_flight": 1,
        "route": ROUTE,
        "lag_s": 0.25,
        "beat_age_s": 30.5,
        "pss_bytes": 9_000_000,
        "oom": None,
        "stacks": STACKS,
        "recycle_reason": None,
    }.items() <= death.items()


# --- who is judged --------------------------------------------------------------------------------


def make_worker(state: WorkerState, **fields: object) -> Worker:
    worker = Worker(row=0, fork_id=0, generation=1, started_s=0.0, deadline_s=None, state=state)
    for name, value in fields.items():
        setattr(worker, name, value)
    return worker


@pytest.mark.parametrize(
    ("worker", "judged"),
    [
        (make_worker(WorkerState.READY), True),
        (make_worker(WorkerState.STARTING), False),
        (make_worker(WorkerState.DRAINING, leaving=True), False),
        (make_worker(WorkerState.READY, leaving=True), False),
        (make_worker(WorkerState.READY, kill_reason="why"), False),
    ],
)
def test_only_workers_that_serve_are_judged_by_their_beats(worker: Worker, judged: bool) -> None:  # noqa: FBT001
    """The others have deadlines of their own: for the boot, the drain, the kill."""
    assert judged == is_judged(worker)


def test_beats_as_they_should_be_are_not_worth_an_event() -> None:
    """Two hundred healthy workers cost the supervisor a look each, and no turn of its inbox."""
    state = replay([]).state
    healthy = make_worker(WorkerState.READY)
    recovering = make_worker(WorkerState.READY, silent_since_s=1.0)

    assert (False, True) == (is_notable(state, healthy, 0.9), is_notable(state, healthy, 1.0))
    assert is_notable(state, recovering, 0.1)


def test_a_worker_that_leaves_is_neither_reported_nor_aborted() -> None:
    """Its drain deadline looks after it."""
    seen = replay(serving(2), workers=2).then((5.0, ev.WorkerDraining(0)))
    seen.then((10.0, look(0, age_s=1.0)))

    assert [] == seen.effects

    seen.then((34.0, look(0, age_s=30.0)))

    assert [] == seen.effects


def test_a_worker_that_starts_is_not_judged() -> None:
    """A factory may block for as long as the boot timeout allows."""
    seen = replay(loaded()).then((0.0, ev.WorkerForked(0, 200)), (40.0, look(0, age_s=40.0)))

    assert [] == seen.effects


def test_a_service_that_boots_reports_but_aborts_nobody() -> None:
    """One worker is ready and hangs, the other still starts: a boot is not made to fail by that."""
    seen = replay([*loaded(), *started_worker(0, at_s=0.0)], workers=2)
    seen.then((10.0, look(0, age_s=1.0)))

    assert [ev.ReportHang(0, 1.0, ROUTE)] == seen.effects

    seen.then((39.0, look(0, age_s=30.0)))

    assert [] == seen.effects


def test_a_service_that_stops_aborts_nobody() -> None:
    """All were told to leave; the drain deadline ends who can't hear it."""
    seen = replay(serving(2), workers=2).then((10.0, look(0, age_s=1.0)), (11.0, TERM))
    seen.then((39.0, look(0, age_s=30.0)))

    assert [] == seen.effects


def test_a_look_at_somebody_who_is_gone_is_ignored() -> None:
    """Looks and deaths may cross."""
    seen = replay(serving()).then((1.0, look(7, age_s=100.0)))

    assert [] == seen.effects


# --- worn workers ---------------------------------------------------------------------------------

WORN = "it has answered 500 requests (max_requests)"


def test_a_worn_worker_gets_its_successor_first_and_drains_then() -> None:
    """The old one serves until the new one is ready."""
    seen = replay(serving(2), workers=2).then((10.0, ev.WorkerWorn(0, WORN)))

    assert [ev.ForkWorker(1, 2, 0)] == seen.acts
    assert [f"info worker fork_id=0 gen=1 pid=200: Replacing it: {WORN}."] == seen.said

    seen.then((10.1, ev.WorkerForked(2, 300)))

    assert [] == seen.acts

    seen.then((10.2, ev.WorkerReady(2)))

    assert [ev.DrainWorker(0, LIMITS.drain_timeout_s)] == seen.acts

    seen.then((11.0, ev.WorkerEnded(0, LEFT, 500)))
    place = seen.state.places[0]

    assert [] == seen.acts
    assert (0, 0, None, 500) == (
        place.restarts,
        place.failures,
        place.last_end,
        place.past_requests,
    )
    assert (1, WORN) == (place.recycled, place.last_recycle)


def test_a_worker_is_worn_once() -> None:
    """A second limit reached meanwhile asks for no second successor."""
    seen = replay(serving()).then((10.0, ev.WorkerWorn(0, WORN)))
    seen.then((10.1, ev.WorkerWorn(0, "it is older than 60 s (max_age_s)")))

    assert [] == seen.effects
    assert WORN == seen.state.workers[0].recycle_reason


def test_no_more_than_the_surge_are_replaced_at_once() -> None:
    """Eight worn workers, a surge of a quarter: two start at once, two more when those are ready."""
    seen = replay(serving(8), workers=8)
    for row in range(8):
        seen.then((10.0, ev.WorkerWorn(row, WORN)))
    starting = [worker.row for worker in seen.state.workers.values() if worker.row >= 8]

    assert [8, 9] == starting

    seen.then(*started_worker(8, at_s=11.0))

    assert [ev.ForkWorker(1, 10, 2), ev.DrainWorker(0, LIMITS.drain_timeout_s)] == sorted(
        seen.acts, key=lambda act: not isinstance(act, ev.ForkWorker)
    )


def test_a_worn_worker_stays_if_its_successor_fails() -> None:
    """It serves on; the successor is tried again after its pause, as often as it takes."""
    seen = replay(serving()).then(
        (10.0, ev.WorkerWorn(0, WORN)),
        (10.1, ev.WorkerForked(1, 300)),
        (10.2, ev.WorkerBootFailed(1, "The factory raised.", "")),
        (10.3, ev.WorkerEnded(1, ProcessEnd(exit_code=3), 0)),
    )

    assert [] == seen.acts
    assert WorkerState.READY is seen.state.workers[0].state
    assert not seen.state.workers[0].leaving

    seen.then((11.3, ev.DeadlinePassed()))

    assert [ev.ForkWorker(1, 1, 0)] == seen.acts
    assert 0 == seen.state.places[0].recycled


@pytest.mark.parametrize("before", [ev.WorkerDraining(0), TERM], ids=lambda event: str(event)[:14])
def test_a_worker_that_leaves_already_is_not_worn(before: ev.Event) -> None:
    """The news may cross with the command to leave."""
    seen = replay(serving()).then((10.0, before), (10.1, ev.WorkerWorn(0, WORN)))

    assert [] == seen.effects


def test_a_worn_worker_that_dies_is_replaced_by_the_successor_on_its_way() -> None:
    """No second one is forked, and the report of its death says that it was worn."""
    seen = replay(serving()).then((10.0, ev.WorkerWorn(0, WORN)))
    seen.then((10.1, ev.WorkerForked(1, 300)), (10.2, ev.WorkerEnded(0, KILLED, 500)))
    (death,) = [
        effect.extra["death"]
        for effect in seen.effects
        if isinstance(effect, ev.Say) and "death" in effect.extra
    ]

    assert [] == seen.acts
    assert WORN == death["recycle_reason"]


def test_a_canary_that_is_worn_before_it_is_ready_is_replaced_afterwards() -> None:
    """It serves while its on_ready runs; the reload goes on with it, and then its successor comes."""
    seen = replay(serving()).then(
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, ev.SettingsRead(LIMITS, None)),
        (10.1, ev.ZygoteLoaded(2, 0.1)),
        (10.2, ev.WorkerForked(1, 201)),
        (10.3, ev.WorkerWorn(1, WORN)),
    )

    assert [] == seen.effects

    seen.then((12.0, ev.WorkerReady(1)))
    (fork,) = [effect for effect in seen.acts if isinstance(effect, ev.ForkWorker)]

    assert (2, 0) == (fork.generation, fork.fork_id)
    assert [f"info worker fork_id=0 gen=2 pid=201: Replacing it: {WORN}."] == [
        text for text in seen.said if "Replacing" in text
    ]


def test_a_request_without_a_route_is_not_put_down_to_one() -> None:
    """A request may end its worker before anybody knows whose it is."""
    seen = replay(serving()).then((10.0, ev.WorkerEnded(0, KILLED, 1, 1, None)))

    assert [
        (
            "warning worker fork_id=0 gen=1 pid=200: The worker was ended by SIGKILL, with 1 "
            "request in flight; replacing it."
        )
    ] == seen.said
