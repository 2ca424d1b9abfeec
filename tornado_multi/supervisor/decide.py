"""What the supervisor decides: one event in, effects out, the clock passed in. Pure.

Rule 1: ``step`` changes only the state it is given, and does no I/O.
Rule 2: an event names what happened; ``reconcile`` alone starts processes, by comparing desired
with observed. So a lost chance (no zygote just now, a fork refused) heals at the next event.
Rule 3: every deadline is set before the thing it guards begins.
Rule 4: events about a process that is gone are ignored: messages and deaths may cross.
"""

from __future__ import annotations

import dataclasses
import signal
from typing import TYPE_CHECKING

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.reconciling import reconcile, retry_times_s
from tornado_multi.supervisor.reloading import (
    ON_TRIAL,
    became_ready,
    concerns,
    fail_reload,
    imported,
    reload_asked,
    scale,
    settings_read,
)
from tornado_multi.supervisor.state import (
    Failure,
    Limits,
    Phase,
    Place,
    State,
    Worker,
    WorkerState,
    Zygote,
    ZygoteState,
)
from tornado_multi.supervisor.stopping import fail, stop_asked
from tornado_multi.supervisor.wording import worker_name, zygote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.linux import ProcessEnd

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 30.0
HEALTHY_AFTER_S = 60.0
"""A process that was ready this long starts with a clean record if it dies."""
KILLS_AT_ONCE = 10
KILLS_WINDOW_S = 60.0
"""So many kills from outside per fork_id in this time are answered at once, further ones slower."""
OUTSIDE_KILLS = frozenset({signal.SIGKILL, signal.SIGTERM})
"""Signals by which people, tests and the OOM killer end a process: no fault of the app's code."""


def backoff_s(failures: int) -> float:
    """Return the pause before the next start after *failures* failures in a row (>= 0)."""
    if failures <= 0:
        return 0.0
    return min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))


def initial_state(desired_workers: int, limits: Limits) -> State:
    """Return the state of a service that has not begun."""
    places = {fork_id: Place(fork_id) for fork_id in range(desired_workers)}
    return State(desired_workers=desired_workers, limits=limits, places=places)


def step(state: State, event: ev.Event, now_s: float) -> list[ev.Effect]:
    """Take in one event and return what to do, in order. *now_s* is monotonic."""
    effects = [*_take_in(state, event, now_s)]
    effects += reconcile(state, now_s)
    return effects


def next_deadline_s(state: State) -> float | None:
    """Return the monotonic time at which ``DeadlinePassed`` is due, or None.

    Every time here is one that ``step`` acts on and then clears: a passed deadline never stays.
    """
    times = [worker.deadline_s for worker in state.workers.values()]
    times += [zygote.deadline_s for zygote in state.zygotes.values()]
    if state.phase in {Phase.BOOTING, Phase.SERVING}:
        times += retry_times_s(state)
    return min((time for time in times if time is not None), default=None)


# --- taking in ------------------------------------------------------------------------------------


def _take_in(state: State, event: ev.Event, now_s: float) -> Iterator[ev.Effect]:  # noqa: C901, PLR0912, PLR0915 - one explicit dispatch
    match event:
        case ev.Started():
            pass
        case ev.ZygoteSpawned(generation, pid):
            if zygote := state.zygotes.get(generation):
                zygote.pid = pid
        case ev.ZygoteRefused(generation, reason):
            yield from _zygote_refused(state, generation, reason, now_s)
        case ev.ZygoteLoaded(generation, import_s):
            yield from _zygote_loaded(state, generation, import_s, now_s)
        case ev.ZygoteLoadFailed():
            yield from _zygote_load_failed(state, event, now_s)
        case ev.ZygoteEnded(generation, end):
            yield from _zygote_ended(state, generation, end, now_s)
        case ev.WorkerForked(row, pid):
            if worker := state.workers.get(row):
                worker.pid = pid
                if worker.kill_reason is not None:  # its deadline passed before it had a pid
                    yield ev.KillWorker(row)
        case ev.ForkRefused(row, reason):
            yield from _fork_refused(state, row, reason, now_s)
        case ev.WorkerReady(row):
            yield from _worker_ready(state, row, now_s)
        case ev.WorkerBootFailed(row, reason, detail):
            yield from _worker_boot_failed(state, row, reason, detail, now_s)
        case ev.WorkerDraining(row):
            yield from _worker_draining(state, row, now_s)
        case ev.WorkerDrained():
            yield from _worker_drained(state, event)
        case ev.WorkerEnding(row):
            if (worker := state.workers.get(row)) and worker.kill_reason is None:
                deadline_s = now_s + state.limits.kill_grace_s
                worker.deadline_s = min(deadline_s, worker.deadline_s or deadline_s)
                worker.is_ending = True
        case ev.ForkSent(row):
            if (worker := state.workers.get(row)) and not worker.leaving:
                worker.fork_sent = True
                worker.deadline_s = now_s + state.limits.boot_timeout_s
        case ev.Suspended(seconds):
            _shift_deadlines(state, seconds)
        case ev.WorkerEnded():
            yield from _worker_ended(state, event, now_s)
        case ev.StopAsked(signal_number, hurried):
            yield from stop_asked(state, signal_number, hurried=hurried, now_s=now_s)
        case ev.ReloadAsked(by):
            yield from reload_asked(state, by, now_s)
        case ev.SettingsRead():
            yield from settings_read(state, event, now_s)
        case ev.SettingsRefused(reason):
            yield from fail_reload(state, Failure(reason, ""), now_s)
        case ev.ScaleAsked(desired_workers):
            if state.phase in {Phase.BOOTING, Phase.SERVING}:
                text = f"Scaling from {state.desired_workers} to {desired_workers} workers."
                yield ev.Say("info", "supervisor", text)
                scale(state, desired_workers)
                yield from _serve_if_ready(state)
        case ev.RestartAsked(fork_id):
            yield from _restart_asked(state, fork_id)
        case ev.DeadlinePassed():
            yield from _deadlines_passed(state, now_s)


def _zygote_refused(
    state: State, generation: int, reason: str, now_s: float
) -> Iterator[ev.Effect]:
    if state.zygotes.pop(generation, None) is None or state.phase is Phase.STOPPING:
        return
    text = f"The system refused to start the zygote: {reason}."
    if concerns(state, generation):
        yield from fail_reload(state, Failure(text, ""), now_s)
        return
    yield from _no_zygote(state, text, now_s, code=ExitCode.REFUSED_BY_SYSTEM)


def _zygote_loaded(
    state: State, generation: int, import_s: float, now_s: float
) -> Iterator[ev.Effect]:
    zygote = state.zygotes.get(generation)
    if zygote is None or zygote.state is not ZygoteState.IMPORTING:
        return
    if zygote.kill_reason is not None or zygote.failure is not None:
        return
    zygote.state = ZygoteState.READY
    zygote.deadline_s = None
    zygote.ready_s = now_s
    zygote.import_s = import_s
    state.zygote_problem = None
    imported(state, zygote)
    if state.phase is Phase.SERVING:
        yield ev.Say("info", zygote_name(zygote), f"Imported the app in {import_s:.2f} s.")


def _zygote_load_failed(
    state: State, event: ev.ZygoteLoadFailed, now_s: float
) -> Iterator[ev.Effect]:
    zygote = state.zygotes.get(event.generation)
    if zygote is None:
        return
    zygote.failure = event.reason
    # It ends by itself now; one that doesn't is killed.
    zygote.deadline_s = now_s + state.limits.kill_grace_s
    code = ExitCode.USAGE if event.usage else ExitCode.BOOT_FAILED
    if state.phase is Phase.BOOTING:
        yield from fail(state, Failure(event.reason, event.detail), code, now_s)
    elif concerns(state, event.generation):
        yield from fail_reload(state, Failure(event.reason, event.detail), now_s)


def _zygote_ended(
    state: State, generation: int, end: ProcessEnd, now_s: float
) -> Iterator[ev.Effect]:
    zygote = state.zygotes.pop(generation, None)
    if zygote is None:
        return
    for worker in [item for item in state.workers.values() if item.generation == generation]:
        if worker.pid is None:  # never announced: whatever was forked sees its channel close
            del state.workers[worker.row]
            yield ev.ForgetWorker(worker.row)
    if state.phase is Phase.STOPPING or zygote.released:
        return
    if not state.generation_is_wanted(generation):
        return  # of a failed reload, or replaced by one
    if concerns(state, generation) and (state.reload is None or state.reload.step in ON_TRIAL):
        yield from fail_reload(state, Failure(_why_no_zygote(zygote, end), ""), now_s)
        return
    if zygote.ready_s is not None:
        healthy = now_s - zygote.ready_s >= HEALTHY_AFTER_S
        if zygote.kill_reason is None and (healthy or end.signal_number in OUTSIDE_KILLS):
            state.zygote_failures = 0
            state.zygote_problem = f"the zygote {end}"
            text = f"The zygote {end}; the workers serve on and another zygote is started."
            yield ev.Say("warning", zygote_name(zygote), text, {"end": str(end)})
            return
    reason = _why_no_zygote(zygote, end)
    if concerns(state, generation):
        yield from fail_reload(state, Failure(reason, ""), now_s)
        return
    yield from _no_zygote(state, reason, now_s, code=ExitCode.BOOT_FAILED)


def _why_no_zygote(zygote: Zygote, end: ProcessEnd) -> str:
    if zygote.ready_s is not None:
        return f"The zygote {zygote.kill_reason or end}."
    if zygote.failure is not None:
        return zygote.failure
    if zygote.kill_reason is not None:
        return f"Importing the app {zygote.kill_reason}."
    return f"The zygote {end} while it imported the app."


def _no_zygote(state: State, reason: str, now_s: float, *, code: ExitCode) -> Iterator[ev.Effect]:
    if state.phase is Phase.BOOTING:
        yield from fail(state, Failure(reason, ""), code, now_s)
        return
    state.zygote_failures += 1
    state.zygote_problem = reason
    pause_s = backoff_s(state.zygote_failures)
    state.zygote_retry_at_s = now_s + pause_s
    yield ev.Say(
        "error",
        "supervisor",
        f"{reason.rstrip('.')}. The workers serve on; another try in {pause_s:g} s.",
        {"retry_in_s": pause_s},
    )


def _fork_refused(state: State, row: int, reason: str, now_s: float) -> Iterator[ev.Effect]:
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
    elif place := state.places.get(worker.fork_id):
        yield from _back_off(place, worker, f"could not be forked: {reason}", now_s)


def _worker_ready(state: State, row: int, now_s: float) -> Iterator[ev.Effect]:
    worker = state.workers.get(row)
    if worker is None or worker.state is not WorkerState.STARTING:
        return
    if worker.leaving or worker.kill_reason is not None:
        return
    worker.state = WorkerState.READY
    worker.ready_s = now_s
    worker.deadline_s = None
    became_ready(state, worker, now_s)
    if state.phase is Phase.SERVING:
        boot_ms = (now_s - worker.started_s) * 1000
        yield ev.Say("info", worker_name(worker), f"Ready after {boot_ms:.0f} ms.")
    yield from _serve_if_ready(state)


def _serve_if_ready(state: State) -> Iterator[ev.Effect]:
    """End the boot when every fork_id has been ready: by a worker's word, or by a scale-down."""
    ready = {item.fork_id for item in state.workers.values() if item.ready_s is not None}
    if state.phase is Phase.BOOTING and ready.issuperset(state.places):
        state.phase = Phase.SERVING
        yield ev.AnnounceReady()


def _worker_boot_failed(
    state: State, row: int, reason: str, detail: str, now_s: float
) -> Iterator[ev.Effect]:
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


def _worker_draining(state: State, row: int, now_s: float) -> Iterator[ev.Effect]:
    worker = state.workers.get(row)
    if worker is None:
        return
    if not worker.leaving:
        worker.leaving = True
        worker.deadline_s = now_s + state.limits.drain_timeout_s + state.limits.kill_grace_s
        if place := state.places.get(worker.fork_id):
            place.restarts += 1
            place.last_end = "told to leave by SIGTERM"
            _count_kill(place, now_s)
        yield ev.Say("info", worker_name(worker), "Told to leave by SIGTERM; replacing it.")
    worker.state = WorkerState.DRAINING


def _worker_drained(state: State, event: ev.WorkerDrained) -> Iterator[ev.Effect]:
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
    text = f"Drained in {report.duration_s:.2f} s: {', '.join(parts)}"
    text += f" ({', '.join(report.cut_handlers)})." if report.cut_handlers else "."
    extra = {"drain": dataclasses.asdict(report)}
    yield ev.Say("warning" if report.cut else "info", worker_name(worker), text, extra)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _worker_ended(  # noqa: C901, PLR0911, PLR0912 - one return for each way that an end is explained
    state: State, event: ev.WorkerEnded, now_s: float
) -> Iterator[ev.Effect]:
    end, requests = event.end, event.requests
    worker = state.workers.pop(event.row, None)
    if worker is None:
        return
    place = state.places.get(worker.fork_id)
    if place is not None:
        place.past_requests += requests
    else:
        state.past_requests += requests
    if state.reload is not None and worker.leaving and worker.ready_s is not None:
        state.reload.drained += 1
    why = f"was killed: it {worker.kill_reason}" if worker.kill_reason else str(end)
    if event.in_flight:
        why += f", with {_count(event.in_flight, 'request')} in flight ({event.route} begun last)"
    extra = {
        "end": str(end),
        "kill_reason": worker.kill_reason,
        "requests": requests,
        "in_flight": event.in_flight,
        "route": event.route,
    }
    if worker.leaving or state.phase is Phase.STOPPING:
        if (state.failure is None and worker.kill_reason) or (
            end.exit_code != 0 and worker.failure is None
        ):
            yield ev.Say("warning", worker_name(worker), f"The leaving worker {why}.", extra)
        return
    boot_fault = worker.ready_s is None and (
        worker.kill_reason is not None or end.signal_number not in OUTSIDE_KILLS
    )
    if state.phase is Phase.BOOTING and boot_fault:
        reason = worker.failure or f"Worker {worker.fork_id} {why} before it was ready."
        yield from fail(state, Failure(reason, ""), ExitCode.BOOT_FAILED, now_s)
        return
    if boot_fault and concerns(state, worker.generation):
        reason = worker.failure or f"Worker {worker.fork_id} {why} before it was ready."
        yield from fail_reload(state, Failure(reason, ""), now_s)
        return
    if place is None:
        return
    place.restarts += 1
    healthy_s = 0.0 if worker.ready_s is None else now_s - worker.ready_s
    from_outside = (
        worker.ready_s is not None
        and worker.kill_reason is None
        and end.signal_number in OUTSIDE_KILLS
    )
    if healthy_s >= HEALTHY_AFTER_S:
        place.failures = 0
    if from_outside or healthy_s >= HEALTHY_AFTER_S:
        place.last_end = why
        yield ev.Say("warning", worker_name(worker), f"The worker {why}; replacing it.", extra)
        _count_kill(place, now_s)
        return
    if concerns(state, worker.generation):
        reason = f"Worker {worker.fork_id} of the new generation {why} soon after it was ready."
        yield from fail_reload(state, Failure(reason, ""), now_s)
        return
    yield from _back_off(place, worker, why, now_s)


def _count_kill(place: Place, now_s: float) -> None:
    """Replace a worker killed from outside at once, but not for ever without a pause.

    People and tests kill now and then; the OOM killer, or an app that kills itself, may do it each
    time it is ready.
    """
    if now_s - place.kills_since_s > KILLS_WINDOW_S:
        place.kills, place.kills_since_s = 0, now_s
    place.kills += 1
    if place.kills > KILLS_AT_ONCE:
        place.retry_at_s = now_s + BACKOFF_FIRST_S


def _restart_asked(state: State, fork_id: int) -> Iterator[ev.Effect]:
    """Have a fork_id's worker replaced; a pause after failures is over."""
    place = state.places.get(fork_id)
    if place is None or state.phase not in {Phase.BOOTING, Phase.SERVING}:
        return
    yield ev.Say("info", "supervisor", f"Restarting worker {fork_id}.")
    place.failures = 0
    place.retry_at_s = None
    for worker in state.workers.values():
        if worker.fork_id == fork_id and not worker.leaving:
            worker.outdated = True


def _back_off(place: Place, worker: Worker, why: str, now_s: float) -> Iterator[ev.Effect]:
    place.failures += 1
    place.last_end = worker.failure or why
    pause_s = backoff_s(place.failures)
    place.retry_at_s = now_s + pause_s
    yield ev.Say(
        "error",
        worker_name(worker),
        f"The worker {why}, {_count(place.failures, 'young death')} in a row; next try in {pause_s:g} s.",
        {"failures": place.failures, "retry_in_s": pause_s},
    )


def _deadlines_passed(state: State, now_s: float) -> Iterator[ev.Effect]:
    for zygote in state.zygotes.values():
        if zygote.deadline_s is not None and zygote.deadline_s <= now_s:
            zygote.deadline_s = None
            if zygote.state is ZygoteState.IMPORTING and zygote.failure is None:
                zygote.kill_reason = (
                    f"did not finish within {state.limits.boot_timeout_s:g} s (boot_timeout_s)"
                )
            yield ev.KillZygote(zygote.generation)
    for worker in state.workers.values():
        if worker.deadline_s is not None and worker.deadline_s <= now_s:
            worker.deadline_s = None
            yield from _worker_deadline_passed(state, worker, now_s)


def _shift_deadlines(state: State, seconds: float) -> None:
    """Give everybody the time back in which nobody could be heard."""
    for worker in state.workers.values():
        if worker.deadline_s is not None:
            worker.deadline_s += seconds
    for zygote in state.zygotes.values():
        if zygote.deadline_s is not None:
            zygote.deadline_s += seconds


def _worker_deadline_passed(state: State, worker: Worker, now_s: float) -> Iterator[ev.Effect]:
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
        worker.kill_reason = (
            f"did not report ready within {state.limits.boot_timeout_s:g} s (boot_timeout_s)"
        )
    if worker.pid is not None:
        yield ev.KillWorker(worker.row)
    elif zygote := state.zygotes.get(worker.generation):
        # The zygote itself hangs in the fork: only its end brings things forward.
        zygote.kill_reason = "hung while it forked a worker"
        yield ev.KillZygote(zygote.generation)
