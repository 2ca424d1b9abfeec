"""What the supervisor decides once it serves, as event histories: no process, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.histories import (
    BOOT_FAILED,
    CRASHED,
    FAILED,
    KILLED,
    LEFT,
    LIMITS,
    TERMINATED,
    Replay,
    replay,
    serving,
    started_worker,
)

from tornado_multi.process.messages import Drained
from tornado_multi.process.scoreboard import MAX_ROWS
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import initial_state, next_deadline_s, step
from tornado_multi.supervisor.pauses import backoff_s
from tornado_multi.supervisor.state import Phase, Worker, WorkerState

if TYPE_CHECKING:
    from tornado_multi.process.linux import ProcessEnd

BACKOFFS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)


# --- workers that end -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", [KILLED, TERMINATED], ids=str)
def test_a_worker_killed_from_outside_is_replaced_at_once(end: ProcessEnd) -> None:
    """A kill by people, by the OOM killer or by a TERM that came too early is not the app's fault."""
    seen = replay(serving(2), workers=2)
    for at_s in (1.0, 2.0, 3.0):
        seen.then((at_s, ev.WorkerEnded(0, end, 1)))

        assert [ev.ForkWorker(1, 0, 0)] == seen.acts

        seen.then(*started_worker(0, at_s=at_s))
    place = seen.state.places[0]

    assert (3, 0, None, 3) == (
        place.restarts,
        place.failures,
        place.retry_at_s,
        place.past_requests,
    )
    assert 0 == seen.state.places[1].restarts


def test_a_worker_that_is_ready_before_it_is_announced_is_told_with_its_pid() -> None:
    """The worker may be faster than the zygote that forked it; the line waits for the pid."""
    seen = replay(serving())
    seen.then((100.0, ev.WorkerEnded(0, CRASHED, 1)))
    seen.then((100.25, ev.WorkerReady(0)))

    assert [] == seen.said

    seen.then((100.5, ev.WorkerForked(0, 300)))

    assert ["info worker fork_id=0 gen=1 pid=300: Ready after 250 ms."] == seen.said


@pytest.mark.parametrize("end", [CRASHED, FAILED, LEFT], ids=str)
def test_young_deaths_back_off(end: ProcessEnd) -> None:
    """A worker that dies soon after ready is tried again after 1, 2, 4 ... at most 30 s."""
    seen = replay(serving())
    now_s = 0.0
    for count, pause_s in enumerate(BACKOFFS_S, start=1):
        seen.then((now_s + 0.5, ev.WorkerEnded(0, end, 0)))
        now_s += 0.5

        assert [] == seen.acts
        (said,) = [act for act in seen.effects if isinstance(act, ev.Say)]
        assert {"failures": count, "retry_in_s": pause_s}.items() <= said.extra.items()
        assert str(end) == said.extra["death"]["end"]
        assert count == seen.state.places[0].failures
        assert now_s + pause_s == next_deadline_s(seen.state)

        seen.then((now_s + pause_s - 0.001, ev.DeadlinePassed()))

        assert [] == seen.effects

        now_s += pause_s
        seen.then((now_s, ev.DeadlinePassed()))

        assert [ev.ForkWorker(1, 0, 0)] == seen.acts

        seen.then(*started_worker(0, at_s=now_s))


def test_healthy_siblings_are_left_alone_in_a_crash_loop() -> None:
    """The backoff is one fork_id's own."""
    seen = replay(serving(2), workers=2).then(
        (1.0, ev.WorkerEnded(0, CRASHED, 0)), (1.1, ev.WorkerEnded(1, KILLED, 0))
    )

    assert [ev.ForkWorker(1, 0, 1)] == seen.acts


def test_sixty_seconds_of_health_clear_the_record() -> None:
    """A worker that was ready for 60 s and dies is replaced at once; the next death pauses 1 s."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, CRASHED, 0)),
        (2.0, ev.DeadlinePassed()),
        *started_worker(0, at_s=2.0),
        (3.0, ev.WorkerEnded(0, CRASHED, 0)),
        (5.0, ev.DeadlinePassed()),
        *started_worker(0, at_s=5.0),
        (65.0, ev.WorkerEnded(0, CRASHED, 0)),
    )

    assert [ev.ForkWorker(1, 0, 0)] == seen.acts
    assert 0 == seen.state.places[0].failures

    seen.then(*started_worker(0, at_s=65.0), (66.0, ev.WorkerEnded(0, CRASHED, 0)))

    assert 67.0 == next_deadline_s(seen.state)


def test_a_kill_from_outside_does_not_clear_the_record() -> None:
    """A crash loop with a kill in it is still a crash loop."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, CRASHED, 0)),
        (2.0, ev.DeadlinePassed()),
        *started_worker(0, at_s=2.0),
        (3.0, ev.WorkerEnded(0, KILLED, 0)),
        *started_worker(0, at_s=3.0),
        (4.0, ev.WorkerEnded(0, CRASHED, 0)),
    )

    assert 6.0 == next_deadline_s(seen.state)


def test_a_failed_boot_while_serving_backs_off_and_keeps_its_reason() -> None:
    """A worker that can't boot any more is reported once, with its traceback, and tried again."""
    seen = replay(serving(2), workers=2).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)),
        (1.1, ev.WorkerForked(0, 300)),
        (1.2, ev.WorkerBootFailed(0, "The factory raised.", "Traceback")),
    )

    assert ["error worker fork_id=0 gen=1 pid=300: The factory raised.\nTraceback"] == seen.said

    seen.then((1.3, ev.WorkerEnded(0, BOOT_FAILED, 0)))

    assert seen.state.phase is Phase.SERVING
    assert "The factory raised." == seen.state.places[0].last_end
    assert 2.3 == next_deadline_s(seen.state)


def test_a_worker_that_stays_after_its_failed_boot_is_killed() -> None:
    """A worker that can't boot has the grace time to leave, no more."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)),
        (1.1, ev.WorkerForked(0, 300)),
        (1.2, ev.WorkerBootFailed(0, "no", "")),
        (3.3, ev.DeadlinePassed()),
    )

    assert [ev.KillWorker(0)] == seen.acts


def test_a_replacement_that_does_not_get_ready_is_killed_and_backs_off() -> None:
    """Our own KILL counts as the worker's failure: else a hanging factory would be tried for ever."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)),
        (1.0, ev.WorkerForked(0, 300)),
        (61.001, ev.DeadlinePassed()),
        (61.1, ev.WorkerEnded(0, KILLED, 0)),
    )

    assert [] == seen.acts
    assert 62.1 == next_deadline_s(seen.state)


def test_requests_of_ended_workers_are_kept() -> None:
    """What a worker counted is added to its fork_id when it ends, also while it leaves."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, KILLED, 7)),
        *started_worker(0, at_s=1.0),
        (2.0, ev.WorkerDraining(0)),
        (3.0, ev.WorkerEnded(0, LEFT, 5)),
    )

    assert 12 == seen.state.places[0].past_requests


# --- a TERM to one worker -------------------------------------------------------------------------


def test_a_worker_told_to_leave_by_term_has_its_successor_at_once() -> None:
    """TERM to a worker is a clean restart: the successor starts while the old one drains."""
    seen = replay(serving(2), workers=2).then((10.0, ev.WorkerDraining(0)))

    assert [ev.ForkWorker(1, 2, 0)] == seen.acts
    assert WorkerState.DRAINING is seen.state.workers[0].state
    assert 42.0 == seen.state.workers[0].deadline_s
    assert 1 == seen.state.places[0].restarts

    seen.then(*started_worker(2, at_s=10.1), (12.0, ev.WorkerEnded(0, LEFT, 3)))

    assert [] == seen.effects
    assert [1, 2] == sorted(seen.state.workers)


def test_a_leaving_worker_is_never_replaced_twice() -> None:
    """However a worker that was told to leave ends, its successor is there already."""
    seen = replay(serving()).then(
        (10.0, ev.WorkerDraining(0)), (10.1, ev.WorkerEnded(0, CRASHED, 0))
    )

    assert [] == seen.acts
    assert 0 == seen.state.places[0].failures


def test_a_leaving_worker_that_stays_is_killed() -> None:
    """The drain's deadline holds for a restart too, and does not touch the exit code."""
    seen = replay(serving()).then(
        (10.0, ev.WorkerDraining(0)), *started_worker(1, at_s=10.1), (42.001, ev.DeadlinePassed())
    )

    assert [ev.KillWorker(0)] == seen.acts
    assert not seen.state.stop_forced


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            Drained(0.5, 3, 2, 0, 0, 0),
            "info {}: Drained in 0.50 s: 3 finished, 2 idle closed, 0 cut.",
        ),
        (
            Drained(5.0, 0, 0, 4, 1, 0),
            "info {}: Drained in 5.00 s: 0 finished, 0 idle closed, 4 websockets closed, 1 event stream ended, 0 cut.",
        ),
        (
            Drained(30.0, 0, 0, 0, 0, 2, ("GET a.Slow", "POST a.Slow")),
            "warning {}: Drained in 30.00 s: 0 finished, 0 idle closed, 2 cut (GET a.Slow, POST a.Slow).",
        ),
        (
            Drained(0.0, 0, 0, 0, 0, 0, hook_s=0.004, closing_s=4.4),
            "info {}: Drained in 0.00 s, then closed its resources in 4.40 s: 0 finished, 0 idle closed, 0 cut.",
        ),
        (
            Drained(0.0, 0, 0, 0, 0, 0, hook_s=2.0, closing_s=0.1),
            "info {}: Drained in 0.00 s, then waited 2.00 s for on_drain and closed its resources in 0.10 s: 0 finished, 0 idle closed, 0 cut.",
        ),
    ],
    ids=["plain", "with streams", "cut", "slow closing", "slow hook"],
)
def test_a_drain_report_is_said(report: Drained, expected: str) -> None:
    """Cut requests are a warning that names their handlers; none cut is only information."""
    seen = replay(serving()).then((1.0, ev.WorkerDraining(0)), (2.0, ev.WorkerDrained(0, report)))

    assert [expected.format("worker fork_id=0 gen=1 pid=200")] == seen.said


# --- a zygote that ends ---------------------------------------------------------------------------


def test_workers_outlive_their_zygote() -> None:
    """A zygote killed from outside is replaced at once by the next generation; nobody drains."""
    seen = replay(serving(2), workers=2).then((10.0, ev.ZygoteEnded(1, KILLED)))

    assert [ev.StartZygote(2)] == seen.acts
    assert "the zygote was ended by SIGKILL" == seen.state.zygote_problem

    seen.then((11.0, ev.ZygoteLoaded(2, 0.5)))

    assert [] == seen.acts
    assert seen.state.zygote_problem is None
    assert [1, 1] == [worker.generation for worker in seen.state.workers.values()]

    seen.then((12.0, ev.WorkerEnded(1, KILLED, 0)))

    assert [ev.ForkWorker(2, 1, 1)] == seen.acts


def test_a_worker_that_dies_while_there_is_no_zygote_waits_for_the_next() -> None:
    """Without a zygote nothing can be forked; the place is filled as soon as one is ready."""
    seen = replay(serving()).then(
        (10.0, ev.ZygoteEnded(1, KILLED)), (10.1, ev.WorkerEnded(0, KILLED, 0))
    )

    assert [] == seen.acts

    seen.then((11.0, ev.ZygoteLoaded(2, 0.5)))

    assert [ev.ForkWorker(2, 0, 0)] == seen.acts


def test_a_zygote_that_crashes_again_and_again_backs_off() -> None:
    """Repeated crashes of young zygotes pause 1, 2, 4 ... at most 30 s; one line each."""
    seen = replay(serving())
    now_s = 1.0
    for count, pause_s in enumerate(BACKOFFS_S, start=1):
        seen.then((now_s, ev.ZygoteEnded(count, CRASHED)))

        (said,) = seen.said

        assert [] == seen.acts
        assert said.startswith("error supervisor: The zygote was ended by SIGSEGV.")
        assert said.endswith(f"The workers serve on; another try in {pause_s:g} s.")
        assert now_s + pause_s == next_deadline_s(seen.state)

        now_s += pause_s
        seen.then((now_s, ev.DeadlinePassed()))

        assert [ev.StartZygote(count + 1)] == seen.acts

        seen.then((now_s, ev.ZygoteLoaded(count + 1, 0.1)))


def test_a_zygote_that_was_healthy_for_long_is_started_again_at_once() -> None:
    """Sixty seconds of health clear a zygote's record as they do a worker's."""
    seen = replay(serving()).then(
        (1.0, ev.ZygoteEnded(1, CRASHED)),
        (2.0, ev.DeadlinePassed()),
        (2.0, ev.ZygoteLoaded(2, 0.1)),
        (62.0, ev.ZygoteEnded(2, CRASHED)),
    )

    assert [ev.StartZygote(3)] == seen.acts
    assert 0 == seen.state.zygote_failures


def test_an_import_that_fails_later_is_tried_again_while_workers_serve_on() -> None:
    """Code that was broken on disk after the start harms nobody: status says so, and it is tried."""
    seen = replay(serving()).then(
        (1.0, ev.ZygoteEnded(1, KILLED)),
        (2.0, ev.ZygoteLoadFailed(2, "SyntaxError", "Traceback", usage=False)),
        (2.0, ev.ZygoteEnded(2, LEFT)),
    )

    assert [] == seen.acts
    assert seen.state.phase is Phase.SERVING
    assert "SyntaxError" == seen.state.zygote_problem
    assert 3.0 == next_deadline_s(seen.state)

    seen.then(
        (3.0, ev.DeadlinePassed()),
        (3.5, ev.ZygoteLoadFailed(3, "SyntaxError", "Traceback", usage=False)),
        (3.5, ev.ZygoteEnded(3, LEFT)),
    )

    assert 5.5 == next_deadline_s(seen.state)

    seen.then((5.5, ev.DeadlinePassed()), (6.0, ev.ZygoteLoaded(4, 0.1)))

    assert seen.state.zygote_problem is None
    assert next_deadline_s(seen.state) is None


def test_a_zygote_killed_in_its_import_backs_off() -> None:
    """An import that the OOM killer ends each time is not tried in a tight loop."""
    seen = replay(serving()).then(
        (1.0, ev.ZygoteEnded(1, KILLED)), (2.0, ev.ZygoteEnded(2, KILLED))
    )

    assert [] == seen.acts
    assert 3.0 == next_deadline_s(seen.state)


def test_a_zygote_that_the_system_refuses_is_tried_again() -> None:
    """No process to be had just now: the workers serve on, and it is tried with backoff."""
    seen = replay(serving()).then(
        (1.0, ev.ZygoteEnded(1, KILLED)), (1.0, ev.ZygoteRefused(2, "Out of memory"))
    )

    assert [] == seen.acts
    assert "Out of memory" in (seen.state.zygote_problem or "")

    seen.then((2.0, ev.DeadlinePassed()))

    assert [ev.StartZygote(3)] == seen.acts


def test_workers_that_were_never_announced_are_forgotten() -> None:
    """A zygote that dies in a fork owes a pid: the row is let go and the next zygote forks it."""
    seen = replay(serving(2), workers=2).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)), (1.1, ev.ZygoteEnded(1, KILLED))
    )

    assert [ev.ForgetWorker(0), ev.StartZygote(2)] == seen.acts
    assert [1] == list(seen.state.workers)

    seen.then((2.0, ev.ZygoteLoaded(2, 0.1)))

    assert [ev.ForkWorker(2, 0, 0)] == seen.acts


def test_a_zygote_that_hangs_in_a_fork_is_replaced_after_a_pause() -> None:
    """Our own KILL is no kill from outside: hanging zygotes back off like crashing ones."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)),
        (1.0, ev.ForkSent(0)),
        (61.001, ev.DeadlinePassed()),
    )

    assert [ev.KillZygote(1)] == seen.acts

    seen.then((61.1, ev.ZygoteEnded(1, KILLED)))

    assert [ev.ForgetWorker(0)] == seen.acts
    assert "The zygote hung while it forked a worker." == seen.state.zygote_problem
    assert 62.1 == next_deadline_s(seen.state)


def test_a_second_zygote_waits_for_the_end_of_the_first() -> None:
    """A zygote that was sent KILL still counts: nothing of two zygotes can be confused."""
    seen = replay(serving()).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)),
        (61.001, ev.DeadlinePassed()),
        (61.002, ev.DeadlinePassed()),
    )

    assert [] == seen.effects
    assert [1] == list(seen.state.zygotes)


# --- forks that are refused -----------------------------------------------------------------------


def test_a_refused_fork_is_tried_again_with_backoff() -> None:
    """EAGAIN while serving costs this fork_id a pause, not the service."""
    seen = replay(serving(2), workers=2).then(
        (1.0, ev.WorkerEnded(0, KILLED, 0)), (1.0, ev.ForkRefused(0, "Try again"))
    )

    assert [ev.ForgetWorker(0)] == seen.acts
    assert 2.0 == next_deadline_s(seen.state)

    seen.then((2.0, ev.DeadlinePassed()), (2.0, ev.ForkRefused(0, "Try again")))

    assert 4.0 == next_deadline_s(seen.state)


def test_more_leaving_workers_than_rows_wait_for_a_row() -> None:
    """A full scoreboard delays a successor until a row is free; it never stops the supervisor."""
    state = initial_state(1, LIMITS)
    Replay(state).then(*serving())
    for row in range(1, MAX_ROWS):
        state.workers[row] = Worker(row, 0, 1, 0.0, None, WorkerState.DRAINING, leaving=True)
    effects = step(state, ev.WorkerDraining(0), 1.0)

    assert [] == [effect for effect in effects if isinstance(effect, ev.ForkWorker)]
    assert [ev.ForkWorker(1, 77, 0)] == step(state, ev.WorkerEnded(77, LEFT, 0), 2.0)


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(-1, 0.0), (0, 0.0), *enumerate(BACKOFFS_S, start=1), (10_000, 30.0)],
)
def test_the_backoff_doubles_up_to_thirty_seconds(failures: int, expected: float) -> None:
    """No failure, no pause; then 1 s, doubled by each failure, at most 30 s."""
    assert expected == backoff_s(failures)


def test_a_place_in_backoff_is_no_deadline_while_nobody_can_fork() -> None:
    """A deadline that nothing can act on would make the loop spin."""
    seen = replay(serving()).then(
        (1.0, ev.ZygoteEnded(1, KILLED)), (1.1, ev.WorkerEnded(0, CRASHED, 0))
    )

    assert 61.0 == next_deadline_s(seen.state)  # the import's


@pytest.mark.parametrize("way", ["KILL", "TERM"])
def test_kills_without_end_are_answered_slower(way: str) -> None:
    """Ten in a minute are replaced at once; further ones, an out-of-memory loop say, after 1 s."""
    seen = replay(serving())
    pauses = []
    row = 0
    for number in range(12):
        at_s = 1.0 + number
        if way == "KILL":
            seen.then((at_s, ev.WorkerEnded(row, KILLED, 0)))
        else:
            seen.then((at_s, ev.WorkerDraining(row)), (at_s, ev.WorkerEnded(row, LEFT, 0)))
        pauses.append(seen.state.places[0].retry_at_s)
        seen.then((at_s + 1.0, ev.DeadlinePassed()))
        row = next(iter(seen.state.workers))
        seen.then((at_s, ev.WorkerForked(row, 300)), (at_s, ev.WorkerReady(row)))

    assert [None] * 10 == pauses[:10]
    assert [12.0, 13.0] == pauses[10:]
    assert 0 == seen.state.places[0].failures


def test_a_worker_that_serves_no_more_has_a_deadline_to_end() -> None:
    """Exit handlers that never return don't leave a place unserved for ever."""
    seen = replay(serving()).then((1.0, ev.WorkerEnding(0)))

    assert 3.0 == next_deadline_s(seen.state)

    seen.then((3.001, ev.DeadlinePassed()))

    assert [ev.KillWorker(0)] == seen.acts

    seen.then((3.1, ev.WorkerEnded(0, KILLED, 0)))

    assert "was killed: it served no more but did not end" == seen.state.places[0].last_end


# --- logs -----------------------------------------------------------------------------------------


def test_log_files_are_reopened_when_asked() -> None:
    """USR1 may come at any time; it changes nothing that is decided."""
    seen = replay(serving(2), workers=2)
    before = seen.state.phase
    seen.then((10.0, ev.ReopenAsked()))

    assert [
        ev.Say("info", "supervisor", "Reopening the log files."),
        ev.ReopenLogs(),
    ] == seen.effects
    assert before is seen.state.phase
