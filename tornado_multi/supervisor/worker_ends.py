"""What follows from the end of a worker, or from a fork that was refused. Pure; see ``decide``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.deaths import (
    exit_report,
    note_end,
    replacing,
    say_stacks,
    why_it_ended,
)
from tornado_multi.supervisor.hook_calls import call_hook
from tornado_multi.supervisor.pauses import HEALTHY_AFTER_S, OUTSIDE_KILLS, backoff_s, count_kill
from tornado_multi.supervisor.reconciling import filling_zygote
from tornado_multi.supervisor.reloading import concerns, fail_reload
from tornado_multi.supervisor.state import Failure, Phase, Place, State, Worker
from tornado_multi.supervisor.stopping import fail
from tornado_multi.supervisor.wording import counted, worker_name
from tornado_multi.supervisor.worker_events import serve_if_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.linux import ProcessEnd


def fork_refused(state: State, row: int, reason: str, now_s: float) -> Iterator[ev.Effect]:
    """Take in that the system refused to fork a worker."""
    worker = state.workers.pop(row, None)
    if worker is None:
        return
    yield ev.ForgetWorker(row)
    if worker.leaving:
        return
    if state.phase is Phase.BOOTING:
        text = f"The system refused to fork worker {worker.fork_id}: {reason}."
        yield from fail(state, Failure(text, ""), ExitCode.REFUSED_BY_SYSTEM, now_s)
        return
    if concerns(state, worker.generation):
        text = f"The system refused to fork worker {worker.fork_id}: {reason}."
        yield from fail_reload(state, Failure(text, ""), now_s)
    elif worker.fork_id in state.places:
        why = f"could not be forked: {reason}"
        yield from _back_off(state, worker, why, {}, now_s)


def worker_ended(state: State, event: ev.WorkerEnded, now_s: float) -> Iterator[ev.Effect]:
    """Take in the end of a worker: say why it ended, and what follows; then where it was."""
    worker = state.workers.pop(event.row, None)
    if worker is None:
        return
    yield from _what_follows(state, worker, event, now_s)
    if event.stacks is not None:
        yield say_stacks(worker, event.stacks)


def _what_follows(  # noqa: PLR0911 - one return for each way that an end is explained
    state: State, worker: Worker, event: ev.WorkerEnded, now_s: float
) -> Iterator[ev.Effect]:
    end, requests = event.end, event.requests
    place = state.places.get(worker.fork_id)
    death = exit_report(worker, place, event, now_s)
    yield from call_hook(state, "on_worker_exit", death, now_s)
    if place is not None:
        place.past_requests += requests
    else:
        state.past_requests += requests
    if state.reload is not None and worker.leaving and worker.ready_s is not None:
        state.reload.drained += 1
    why = why_it_ended(worker, event)
    extra = {"death": death}
    _blame(state, worker, death)
    if worker.leaving or state.phase is Phase.STOPPING:
        if (state.failure is None and worker.kill_reason) or (
            end.exit_code != 0 and worker.failure is None
        ):
            yield ev.Say("warning", worker_name(worker), f"The leaving worker {why}.", extra)
        return
    boot_fault = worker.ready_s is None and (
        worker.kill_reason is not None or end.signal_number not in OUTSIDE_KILLS
    )
    # What it was killed for says already that it was not ready.
    too_soon = "" if worker.kill_reason else " before it was ready"
    boot_failure = worker.failure or f"Worker {worker.fork_id} {why}{too_soon}."
    if state.phase is Phase.BOOTING and boot_fault and not _is_finished(state, end):
        yield from fail(state, Failure(boot_failure, "", death), ExitCode.BOOT_FAILED, now_s)
        return
    if _is_finished(state, end):
        yield from _finished(state, worker, place, now_s)
        return
    if boot_fault and concerns(state, worker.generation):
        yield from fail_reload(state, Failure(boot_failure, "", death), now_s)
        return
    if place is None:
        return
    place.restarts += 1
    healthy_s = 0.0 if worker.ready_s is None else now_s - worker.ready_s
    # A loop that hung is no fault of the start either: the next worker may serve for days.
    from_outside = worker.is_aborted or (
        worker.ready_s is not None
        and worker.kill_reason is None
        and end.signal_number in OUTSIDE_KILLS
    )
    if healthy_s >= HEALTHY_AFTER_S:
        place.failures = 0
    if from_outside or healthy_s >= HEALTHY_AFTER_S:
        note_end(place, why, now_s)
        text = f"The worker {why}; {replacing(state)}."
        yield ev.Say("warning", worker_name(worker), text, extra)
        count_kill(place, now_s)
        return
    if concerns(state, worker.generation):
        reason = f"Worker {worker.fork_id} of the new generation {why} soon after it was ready."
        yield from fail_reload(state, Failure(reason, "", death), now_s)
        return
    yield from _back_off(state, worker, why, extra, now_s)


def _blame(state: State, worker: Worker, death: dict[str, Any]) -> None:
    """Add a death to the failure of the boot or the reload that this worker has told before."""
    for failure in (state.failure, state.reload and state.reload.failure):
        if failure and failure.death is None and failure.reason == worker.failure:
            failure.death = death


def _is_finished(state: State, end: ProcessEnd) -> bool:
    """Tell whether a script's main has returned, unasked: that worker is not replaced."""
    return state.limits.is_script and end.exit_code == 0


def _finished(
    state: State, worker: Worker, place: Place | None, now_s: float
) -> Iterator[ev.Effect]:
    if concerns(state, worker.generation):
        text = f"Worker {worker.fork_id} of the new generation returned from its main program."
        yield from fail_reload(state, Failure(text, ""), now_s)
    elif place is not None and state.is_wanted(worker):
        place.is_finished = True
        note_end(place, "finished: its main program returned", now_s)
        yield ev.Say("info", worker_name(worker), "Finished: its main program returned.")
        yield from serve_if_ready(state)


def _back_off(
    state: State, worker: Worker, why: str, extra: dict[str, Any], now_s: float
) -> Iterator[ev.Effect]:
    """Note a young death: its place waits. There must be such a place."""
    place = state.places[worker.fork_id]
    place.failures += 1
    note_end(place, worker.failure or why, now_s)
    pause_s = backoff_s(place.failures, place.fork_id)
    place.retry_at_s = now_s + pause_s
    text = f"The worker {why}, {counted(place.failures, 'young death')} in a row; "
    text += f"next try in {pause_s:.2g} s"
    if filling_zygote(state) is None:
        text += ", or when a zygote is ready, if that is later"
    yield ev.Say(
        "error",
        worker_name(worker),
        f"{text}.",
        extra | {"failures": place.failures, "retry_in_s": pause_s},
    )
