"""What the supervisor decides: one event in, effects out, the clock passed in. Pure.

Rule 1: ``step`` changes only the state it is given, and does no I/O.
Rule 2: an event names what happened; ``reconcile`` alone starts processes, by comparing desired
with observed. So a lost chance (no zygote just now, a fork refused) heals at the next event.
Rule 3: every deadline is set before the thing it guards begins.
Rule 4: events about a process that is gone are ignored: messages and deaths may cross.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.hook_calls import (
    hook_deadlines_passed,
    hook_ended,
    hook_refused,
)
from tornado_multi.supervisor.liveness import looked, worker_worn
from tornado_multi.supervisor.reconciling import reconcile, retry_times_s
from tornado_multi.supervisor.reloading import (
    concerns,
    fail_reload,
    reload_asked,
    scale,
    settings_read,
)
from tornado_multi.supervisor.state import Failure, Limits, Phase, Place, State, ZygoteState
from tornado_multi.supervisor.stopping import stop_asked, stop_is_due
from tornado_multi.supervisor.worker_ends import fork_refused, worker_ended
from tornado_multi.supervisor.worker_events import (
    restart_asked,
    restart_given_up,
    say_ready,
    serve_if_ready,
    worker_boot_failed,
    worker_deadline_passed,
    worker_drained,
    worker_draining,
    worker_ending,
    worker_ready,
)
from tornado_multi.supervisor.zygote_events import (
    zygote_audited,
    zygote_ended,
    zygote_load_failed,
    zygote_loaded,
    zygote_refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.supervisor.state import HookCall, Worker, Zygote


def initial_state(
    desired_workers: int, limits: Limits, *, asked_workers: int | None = None
) -> State:
    """Return the state of a service that has not begun.

    Args: asked_workers: script mode: what the script gave ``fork_processes``.
    """
    return State(
        desired_workers=desired_workers,
        limits=limits,
        places={fork_id: Place(fork_id) for fork_id in range(desired_workers)},
        asked_workers=asked_workers,
    )


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
    times += [call.deadline_s for call in state.hook_calls.values()]
    times += [worker.leave_at_s for worker in state.workers.values() if not worker.leaving]
    times.append(state.stop_due_s)
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
            yield from zygote_refused(state, generation, reason, now_s)
        case ev.ZygoteAudited():
            yield from zygote_audited(state, event)
        case ev.ZygoteLoaded():
            yield from zygote_loaded(state, event, now_s)
        case ev.ZygoteLoadFailed():
            yield from zygote_load_failed(state, event, now_s)
        case ev.ZygoteEnded():
            yield from zygote_ended(state, event, now_s)
        case ev.WorkerForked(row, pid):
            if worker := state.workers.get(row):
                worker.pid = pid
                if worker.kill_reason is not None:  # its deadline passed before it had a pid
                    yield ev.KillWorker(row)
                if worker.ready_is_unsaid:
                    yield say_ready(worker)
        case ev.ForkRefused(row, reason):
            yield from fork_refused(state, row, reason, now_s)
        case ev.WorkerReady(row):
            yield from worker_ready(state, row, now_s)
        case ev.Looked():
            yield from looked(state, event, now_s)
        case ev.WorkerWorn(row, reason):
            yield from worker_worn(state, row, reason)
        case ev.WorkerBootFailed(row, reason, detail):
            yield from worker_boot_failed(state, row, reason, detail, now_s)
        case ev.WorkerDraining(row):
            yield from worker_draining(state, row, now_s)
        case ev.WorkerDrained():
            yield from worker_drained(state, event)
        case ev.WorkerEnding():
            yield from worker_ending(state, event, now_s)
        case ev.ForkSent(row):
            if (worker := state.workers.get(row)) and not worker.leaving:
                worker.fork_sent = True
                worker.deadline_s = now_s + state.limits.boot_timeout_s
        case ev.Suspended(seconds):
            _shift_deadlines(state, seconds)
        case ev.WorkerEnded():
            yield from worker_ended(state, event, now_s)
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
                yield from serve_if_ready(state)
        case ev.RestartAsked(fork_id):
            yield from restart_asked(state, fork_id)
        case ev.RestartGivenUp(fork_id):
            restart_given_up(state, fork_id)
        case ev.ReopenAsked() if state.phase is not Phase.FINISHED:
            yield ev.Say("info", "supervisor", "Reopening the log files.")
            yield ev.ReopenLogs()
        case ev.HookForked(number, pid):
            if call := state.hook_calls.get(number):
                call.pid = pid
        case ev.HookRefused(number, reason):
            yield from hook_refused(state, number, reason)
        case ev.HookFailed():
            yield from _hook_failed(state, event, now_s)
        case ev.HookEnded(number, end):
            yield from hook_ended(state, number, end)
        case ev.DeadlinePassed():
            yield from _deadlines_passed(state, now_s)


def _hook_failed(state: State, event: ev.HookFailed, now_s: float) -> Iterator[ev.Effect]:
    """Say that a hook raised or hung. A reload that can still fail, fails by it."""
    if state.phase is Phase.FINISHED:
        return
    if event.number in state.hook_calls:
        state.hook_calls[event.number].has_failed = True
    text = f"{event.reason}\n{event.detail}".rstrip()
    yield ev.Say("error", event.who, text, {"hook": event.hook})
    if event.generation is not None and concerns(state, event.generation):
        yield from fail_reload(state, Failure(event.reason, event.detail), now_s)


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
            yield from worker_deadline_passed(state, worker, now_s)
    yield from hook_deadlines_passed(state, now_s)
    yield from stop_is_due(state, now_s)


def _shift_deadlines(state: State, seconds: float) -> None:
    """Give everybody the time back in which nobody could be heard."""
    everybody: list[Worker | Zygote | HookCall] = [
        *state.workers.values(),
        *state.zygotes.values(),
        *state.hook_calls.values(),
    ]
    for one in everybody:
        if one.deadline_s is not None:
            one.deadline_s += seconds
