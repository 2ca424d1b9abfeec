"""Silent loops and worn workers: what the beats say, and what follows. Pure; see ``decide``.

The loop of each worker writes its beat into the row; the supervisor looks five times a second.
Nothing is judged by a look that came late: then it was the supervisor that did not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.state import Phase, WorkerState
from tornado_multi.supervisor.wording import worker_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.supervisor.state import State, Worker

REPORT_PAUSE_S = 10.0
"""Between two reports of one worker, so that a handler which blocks again and again fills no disk.

The first report of another route does not wait.
"""
ABORT_GRACE_S = 1.0
"""From ABRT, at which faulthandler writes the stacks once more, to KILL."""


def is_judged(worker: Worker) -> bool:
    """Tell whether a worker's beats count: ready, not leaving, not being killed."""
    return worker.state is WorkerState.READY and not worker.leaving and worker.kill_reason is None


def is_notable(state: State, worker: Worker, beat_age_s: float) -> bool:
    """Tell whether a look at this worker has something to say."""
    return is_judged(worker) and (
        beat_age_s >= state.limits.hang_warn_s or worker.silent_since_s is not None
    )


def looked(state: State, event: ev.Looked, now_s: float) -> Iterator[ev.Effect]:
    """Take in which loops are silent, and which run again."""
    for sample in event.samples:
        worker = state.workers.get(sample.row)
        if worker is None or not is_judged(worker):
            continue
        worker.is_stopped = sample.is_stopped
        if sample.beat_age_s < state.limits.hang_warn_s:
            yield from _runs_again(worker, now_s)
        elif sample.beat_age_s >= state.limits.hang_timeout_s and state.phase is Phase.SERVING:
            yield from _give_up(state, worker, sample, now_s)
        elif not _was_reported(worker):
            yield from _is_silent(worker, sample, now_s)


def _was_reported(worker: Worker) -> bool:
    """Tell whether the present silence is in the log."""
    return (
        worker.silent_since_s is not None
        and worker.reported_s is not None
        and worker.reported_s >= worker.silent_since_s
    )


def _is_silent(worker: Worker, sample: ev.Sample, now_s: float) -> Iterator[ev.Effect]:
    if worker.silent_since_s is None:
        worker.silent_since_s = now_s - sample.beat_age_s
    is_pause = worker.reported_s is not None and now_s - worker.reported_s < REPORT_PAUSE_S
    if is_pause and (sample.is_stopped or sample.route in worker.reported_routes):
        return
    worker.reported_s = now_s
    if sample.route not in worker.reported_routes:
        worker.reported_routes.append(sample.route)
    if sample.is_stopped:
        text = f"The process is stopped, for {sample.beat_age_s:.1f} s (SIGSTOP, or a debugger)."
        yield ev.Say("warning", worker_name(worker), text)
        return
    yield ev.ReportHang(worker.row, sample.beat_age_s, sample.route)


def _runs_again(worker: Worker, now_s: float) -> Iterator[ev.Effect]:
    if worker.silent_since_s is None:
        return
    silent_s = now_s - worker.silent_since_s
    was_reported = _was_reported(worker)
    worker.silent_since_s = None
    if was_reported:
        text = f"The event loop runs again, after {silent_s:.1f} s."
        yield ev.Say("info", worker_name(worker), text, {"silent_s": round(silent_s, 3)})


def _give_up(state: State, worker: Worker, sample: ev.Sample, now_s: float) -> Iterator[ev.Effect]:
    what = "was stopped" if sample.is_stopped else "had an event loop that did not run"
    where = f", in {sample.route}" if sample.route and not sample.is_stopped else ""
    limit_s = state.limits.hang_timeout_s
    worker.kill_reason = f"{what} for {limit_s:g} s (hang_timeout_s){where}"
    worker.is_aborted = True
    worker.deadline_s = now_s + ABORT_GRACE_S
    yield ev.AbortWorker(worker.row)


def worker_worn(state: State, row: int, reason: str) -> Iterator[ev.Effect]:
    """Take in that a worker has reached a limit: a successor first, then it drains."""
    worker = state.workers.get(row)
    if worker is None or worker.leaving or worker.kill_reason or worker.recycle_reason is not None:
        return
    worker.recycle_reason = reason
    if worker.state is WorkerState.STARTING:  # a canary: it is replaced when it was ready
        return
    worker.outdated = True
    yield ev.Say("info", worker_name(worker), f"Replacing it: {reason}.", {"recycled": reason})
