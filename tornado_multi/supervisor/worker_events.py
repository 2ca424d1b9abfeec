"""What the news of a worker means. Pure; see ``decide``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.hook_calls import call_hook
from tornado_multi.supervisor.liveness import worker_worn
from tornado_multi.supervisor.pauses import HEALTHY_AFTER_S, OUTSIDE_KILLS, backoff_s, count_kill
from tornado_multi.supervisor.reconciling import filling_zygote
from tornado_multi.supervisor.reloading import became_ready, concerns, fail_reload
from tornado_multi.supervisor.state import Failure, Phase, Place, State, Worker, WorkerState
from tornado_multi.supervisor.stopping import fail
from tornado_multi.supervisor.wording import worker_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.linux import ProcessEnd
    from tornado_multi.process.messages import Drained

TOLD_S = 0.1
"""What comes after a drain is told from this time on."""

OWN_ABORT = "Fatal Python error: Aborted"
"""How faulthandler begins what it writes at ABRT, ours included."""


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


def worker_ready(state: State, row: int, now_s: float) -> Iterator[ev.Effect]:
    """Take in that a worker accepts."""
    worker = state.workers.get(row)
    if worker is None or worker.state is not WorkerState.STARTING:
        return
    if worker.leaving or worker.kill_reason is not None:
        return
    worker.state = WorkerState.READY
    worker.ready_s = now_s
    worker.deadline_s = None
    state.note_served(worker.generation)
    became_ready(state, worker, now_s)
    if reason := worker.recycle_reason:  # it has served while its on_ready ran
        worker.recycle_reason = None
        yield from worker_worn(state, row, reason)
    if state.phase is Phase.SERVING:
        if worker.pid is None:  # the zygote, which announces it, was slower
            worker.ready_is_unsaid = True
        else:
            yield say_ready(worker)
    yield from serve_if_ready(state)


def say_ready(worker: Worker) -> ev.Say:
    """Return the line about a worker that became ready, and has a pid now."""
    worker.ready_is_unsaid = False
    boot_ms = ((worker.ready_s or worker.started_s) - worker.started_s) * 1000
    return ev.Say("info", worker_name(worker), f"Ready after {boot_ms:.0f} ms.")


def serve_if_ready(state: State) -> Iterator[ev.Effect]:
    """End the boot when every fork_id has been ready: by a worker's word, or by a scale-down."""
    ready = {item.fork_id for item in state.workers.values() if item.ready_s is not None}
    ready |= {place.fork_id for place in state.places.values() if place.is_finished}
    if state.phase is Phase.BOOTING and ready.issuperset(state.places):
        state.phase = Phase.SERVING
        yield ev.AnnounceReady()


def worker_boot_failed(
    state: State, row: int, reason: str, detail: str, now_s: float
) -> Iterator[ev.Effect]:
    """Take in that a worker could not build the app; it ends by itself."""
    worker = state.workers.get(row)
    if worker is None:
        return
    worker.failure = reason
    worker.deadline_s = now_s + state.limits.kill_grace_s
    if state.phase is Phase.BOOTING:
        yield from fail(state, Failure(reason, detail), ExitCode.BOOT_FAILED, now_s)
    elif concerns(state, worker.generation):
        yield from fail_reload(state, Failure(reason, detail), now_s)
    elif (
        state.failure is None and not worker.leaving
    ):  # or the siblings would repeat what ends the service already
        yield ev.Say(
            "error", worker_name(worker), f"{reason}\n{detail}".rstrip(), {"reason": reason}
        )


def worker_draining(state: State, row: int, now_s: float) -> Iterator[ev.Effect]:
    """Take in that a worker stopped taking work, by our command or by a TERM from outside."""
    worker = state.workers.get(row)
    if worker is None:
        return
    if not worker.leaving:
        worker.leaving = True
        worker.deadline_s = now_s + state.limits.drain_timeout_s + state.limits.kill_grace_s
        if place := state.places.get(worker.fork_id):
            place.restarts += 1
            _note_end(place, "told to leave by SIGTERM", now_s)
            count_kill(place, now_s)
        text = f"Told to leave by SIGTERM; {_replacing(state)}."
        yield ev.Say("info", worker_name(worker), text)
    worker.state = WorkerState.DRAINING


def worker_drained(state: State, event: ev.WorkerDrained) -> Iterator[ev.Effect]:
    """Take in how a drain went."""
    worker = state.workers.get(event.row)
    if worker is None:
        return
    report = event.report
    if state.reload is not None:
        state.reload.cut += report.cut
    parts = [f"{report.finished} finished", f"{report.closed_idle} idle closed"]
    if report.closed_websockets:
        parts.append(f"{_count(report.closed_websockets, 'websocket')} closed")
    if report.ended_streams:
        parts.append(f"{_count(report.ended_streams, 'event stream')} ended")
    parts.append(f"{report.cut} cut")
    text = f"Drained in {_drain_times(report)}: {', '.join(parts)}"
    text += f" ({', '.join(report.cut_handlers)})." if report.cut_handlers else "."
    extra = {"drain": dataclasses.asdict(report)}
    yield ev.Say("warning" if report.cut else "info", worker_name(worker), text, extra)


def _drain_times(report: Drained) -> str:
    """Say how long the drain took, and what came after it if that would be missed."""
    after = []
    if report.hook_s >= TOLD_S:
        after.append(f"waited {report.hook_s:.2f} s for on_drain")
    if report.closing_s >= TOLD_S:
        after.append(f"closed its resources in {report.closing_s:.2f} s")
    said = f"{report.duration_s:.2f} s"
    return f"{said}, then {' and '.join(after)}" if after else said


def worker_ending(state: State, event: ev.WorkerEnding, now_s: float) -> Iterator[ev.Effect]:
    """Take in that a worker serves no more: it has not much longer to live, and may say why."""
    worker = state.workers.get(event.row)
    if worker is None or worker.kill_reason is not None:
        return
    deadline_s = now_s + state.limits.kill_grace_s
    worker.deadline_s = min(deadline_s, worker.deadline_s or deadline_s)
    worker.is_ending = True
    worker.error = event.reason
    if event.detail is not None:
        yield ev.Say("error", worker_name(worker), f"What ended it:\n{event.detail}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def worker_ended(state: State, event: ev.WorkerEnded, now_s: float) -> Iterator[ev.Effect]:
    """Take in the end of a worker: say why it ended, and what follows; then where it was."""
    worker = state.workers.pop(event.row, None)
    if worker is None:
        return
    yield from _explain(state, worker, event, now_s)
    if event.stacks is not None:
        yield _say_stacks(worker, event.stacks)


def _say_stacks(worker: Worker, stacks: str) -> ev.Say:
    """Return the line about a worker's threads at its end; at our own ABRT it has not crashed."""
    if worker.is_aborted and stacks.startswith(OWN_ABORT):
        text = "Where its threads were when the supervisor ended it:\n"
        text += stacks.removeprefix(OWN_ABORT).lstrip("\n")
        return ev.Say("warning", worker_name(worker), text.rstrip())
    return ev.Say("error", worker_name(worker), f"Its last words:\n{stacks}")


def _explain(  # noqa: C901, PLR0911, PLR0912 - one return for each way that an end is explained
    state: State, worker: Worker, event: ev.WorkerEnded, now_s: float
) -> Iterator[ev.Effect]:
    end, requests = event.end, event.requests
    place = state.places.get(worker.fork_id)
    death = _exit_report(worker, place, event, now_s)
    yield from call_hook(state, "on_worker_exit", death, now_s)
    if place is not None:
        place.past_requests += requests
    else:
        state.past_requests += requests
    if state.reload is not None and worker.leaving and worker.ready_s is not None:
        state.reload.drained += 1
    why = f"was killed: it {worker.kill_reason}" if worker.kill_reason else str(end)
    if worker.error is not None:
        why += f", by {worker.error}"
    if event.oom is not None:
        why += f", for want of memory ({event.oom})"
    if event.in_flight:
        why += f", with {_count(event.in_flight, 'request')} in flight"
        why += f" ({event.route} ran last)" if event.route else ""
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
        _note_end(place, why, now_s)
        text = f"The worker {why}; {_replacing(state)}."
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


def _note_end(place: Place, why: str, now_s: float) -> None:
    place.last_end, place.last_end_s = why, now_s


def _replacing(state: State) -> str:
    """Return what is done about a lost worker, now or when it can be."""
    if filling_zygote(state) is None:
        return "replacing it as soon as a zygote is ready"
    return "replacing it"


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
        _note_end(place, "finished: its main program returned", now_s)
        yield ev.Say("info", worker_name(worker), "Finished: its main program returned.")
        yield from serve_if_ready(state)


def _exit_report(
    worker: Worker, place: Place | None, event: ev.WorkerEnded, now_s: float
) -> dict[str, Any]:
    """Return what ``on_worker_exit`` is told."""
    return {
        "fork_id": worker.fork_id,
        "pid": worker.pid,
        "generation": worker.generation,
        "end": str(event.end),
        "exit_code": event.end.exit_code,
        "signal": event.end.signal_number,
        "error": worker.error,
        "kill_reason": worker.kill_reason,
        "was_asked": worker.leaving,
        "was_ready": worker.ready_s is not None,
        "uptime_s": round(now_s - worker.started_s, 3),
        "requests": event.requests,
        "in_flight": event.in_flight,
        "route": event.route,
        "lag_s": event.lag_s,
        "beat_age_s": event.beat_age_s,
        "pss_bytes": event.pss_bytes,
        "oom": event.oom,
        "stacks": event.stacks,
        "recycle_reason": worker.recycle_reason,
        "restarts": None if place is None else place.restarts,
    }


def restart_asked(state: State, fork_id: int) -> Iterator[ev.Effect]:
    """Have a fork_id's worker replaced; a pause after failures is over."""
    place = state.places.get(fork_id)
    if place is None or state.phase not in {Phase.BOOTING, Phase.SERVING}:
        return
    yield ev.Say("info", "supervisor", f"Restarting worker {fork_id}.")
    place.failures = place.kills = 0
    place.retry_at_s = place.put_off_s = None
    place.is_finished = False
    for worker in state.workers.values():
        if worker.fork_id == fork_id and not worker.leaving:
            worker.outdated = True


def restart_given_up(state: State, fork_id: int) -> None:
    """Forget a restart that was answered as failed: the worker that serves stays.

    Not if a successor is on its way after all, nor if the worker has reached a limit of its own.
    """
    here = [item for item in state.workers.values() if item.fork_id == fork_id and not item.leaving]
    if any(state.is_wanted(worker) for worker in here):
        return
    serving = [
        worker
        for worker in here
        if worker.state is WorkerState.READY
        and worker.recycle_reason is None
        and state.generation_is_wanted(worker.generation)
    ]
    if serving:
        max(serving, key=lambda worker: worker.generation).outdated = False
        if place := state.places.get(fork_id):
            place.retry_at_s = place.put_off_s = None


def _back_off(
    state: State, worker: Worker, why: str, extra: dict[str, Any], now_s: float
) -> Iterator[ev.Effect]:
    """Note a young death: its place waits. There must be such a place."""
    place = state.places[worker.fork_id]
    place.failures += 1
    _note_end(place, worker.failure or why, now_s)
    pause_s = backoff_s(place.failures, place.fork_id)
    place.retry_at_s = now_s + pause_s
    text = f"The worker {why}, {_count(place.failures, 'young death')} in a row; "
    text += f"next try in {pause_s:.2g} s"
    if filling_zygote(state) is None:
        text += ", or when a zygote is ready, if that is later"
    yield ev.Say(
        "error",
        worker_name(worker),
        f"{text}.",
        extra | {"failures": place.failures, "retry_in_s": pause_s},
    )


def worker_deadline_passed(state: State, worker: Worker, now_s: float) -> Iterator[ev.Effect]:
    """Kill a worker whose time is over."""
    if worker.is_aborted:
        yield ev.KillWorker(worker.row)
        return
    if worker.pid is None and not worker.fork_sent and not worker.leaving:
        # It waits behind slow forks; its own time has not begun.
        worker.deadline_s = now_s + state.limits.boot_timeout_s
        return
    if worker.failure is not None:
        worker.kill_reason = "did not end after its failed boot"
    elif worker.is_ending and not worker.leaving:
        worker.kill_reason = "served no more but did not end"
    elif worker.leaving:
        worker.kill_reason = "had not left at its drain deadline"
        state.stop_forced = state.stop_forced or state.phase is Phase.STOPPING
    else:
        what = "call add_sockets of a Tornado server" if state.limits.is_script else "report ready"
        worker.kill_reason = (
            f"did not {what} within {state.limits.boot_timeout_s:g} s (boot_timeout_s)"
        )
    if worker.pid is not None:
        yield ev.KillWorker(worker.row)
    elif zygote := state.zygotes.get(worker.generation):
        # The zygote itself hangs in the fork: only its end brings things forward.
        zygote.kill_reason = "hung while it forked a worker"
        yield ev.KillZygote(zygote.generation)
