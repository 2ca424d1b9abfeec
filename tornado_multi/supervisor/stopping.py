"""Ending: one worker, the whole service, at leisure or at once. Pure; see ``decide``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.hook_calls import calling_zygote
from tornado_multi.supervisor.state import Phase, WorkerState, ZygoteState
from tornado_multi.supervisor.wording import zygote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.exit_codes import ExitCode
    from tornado_multi.supervisor.state import Failure, State, Worker, Zygote

HURRIED_DRAIN_S = 0.0
SAME_KEYPRESS_S = 0.5
"""A second INT this soon is the same Ctrl-C, forwarded by a wrapper that got it too (timeout(1))."""


def stop_asked(
    state: State, signal_number: int | None, *, hurried: bool, now_s: float
) -> Iterator[ev.Effect]:
    """Begin to stop, or stop faster than before."""
    if state.phase is Phase.FINISHED:
        return
    if hurried and state.hurried_at_s is None:
        state.hurried_at_s = now_s
    delay_s = 0.0 if hurried or state.phase is not Phase.SERVING else state.limits.drain_delay_s
    if delay_s > 0:
        if state.stop_due_s is None:
            state.stop_signal = signal_number
            yield from _announce_stop(state, now_s + delay_s, delay_s)
    elif state.phase is not Phase.STOPPING:
        state.stop_signal = signal_number
        state.stop_hurried = hurried
        yield ev.Say("info", "supervisor", _stopping_text(state))
        yield from begin_stop(state, now_s)
    elif hurried and not state.stop_hurried:
        state.stop_hurried = True
        state.stop_signal = signal_number
        yield ev.Say("info", "supervisor", "Hurrying: requests in progress are cut.")
        yield from _drain_all(state, now_s)
    elif hurried and now_s - (state.hurried_at_s or 0.0) >= SAME_KEYPRESS_S:
        state.stop_signal = signal_number
        yield ev.Say("warning", "supervisor", "Killing what is left.")
        yield from _kill_all(state)


def _announce_stop(state: State, due_s: float, delay_s: float) -> Iterator[ev.Effect]:
    """Serve on for a while, and let balancers know."""
    state.stop_due_s = due_s
    text = (
        f"Going to stop, by {_stopper(state)}: the ready path answers 503, and requests are served "
        f"for {delay_s:g} s more (drain_delay_s)."
    )
    yield ev.Say("info", "supervisor", text)
    for worker in state.workers.values():
        if worker.state is WorkerState.READY:
            yield ev.TellReadiness(worker.row, wants_requests=False)


def stop_is_due(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Begin the stop that was put off, if its time has come."""
    if state.stop_due_s is not None and state.stop_due_s <= now_s:
        state.stop_due_s = None
        if state.phase is not Phase.STOPPING:
            yield ev.Say("info", "supervisor", _stopping_text(state))
            yield from begin_stop(state, now_s)


def _stopper(state: State) -> str:
    if state.stop_signal is None:
        return "the stop command"
    return signal.Signals(state.stop_signal).name


def _stopping_text(state: State) -> str:
    by = _stopper(state)
    if state.stop_hurried:
        return f"Stopping at once, by {by}."
    return f"Stopping, by {by}; requests in progress have {state.limits.drain_timeout_s:g} s."


def fail(state: State, failure: Failure, code: ExitCode, now_s: float) -> Iterator[ev.Effect]:
    """End a service that never came up, with its reason."""
    if state.failure is None:
        state.failure = failure
        state.exit_code = int(code)
        state.stop_hurried = True
        yield from begin_stop(state, now_s)


def begin_stop(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Let everything leave. What is under way (a reload, a boot) ends with it."""
    state.phase = Phase.STOPPING
    state.stop_due_s = None
    state.reload_queued = False
    yield ev.RefuseConnections()
    staying = None
    if state.workers or state.hook_calls:
        staying = calling_zygote(state, "on_worker_exit")
    for zygote in state.zygotes.values():
        if zygote is not staying:
            yield from release_zygote(state, zygote, now_s, "was interrupted by the stop")
    yield from _drain_all(state, now_s)


def release_zygote(state: State, zygote: Zygote, now_s: float, reason: str) -> Iterator[ev.Effect]:
    """Let a zygote leave; one that is in the middle of an import is killed: that can last."""
    if zygote.state is ZygoteState.READY:
        yield ev.ReleaseZygote(zygote.generation)
        zygote.released = True
        zygote.deadline_s = now_s + state.limits.kill_grace_s
    elif zygote.failure is None:
        zygote.kill_reason = zygote.kill_reason or reason
        yield ev.KillZygote(zygote.generation)


def release_last_zygote(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Let the zygote leave that stayed for ``on_worker_exit``, when nothing is left to call."""
    if state.workers or state.hook_calls:
        return
    for zygote in state.zygotes.values():
        if not zygote.released and zygote.kill_reason is None and zygote.failure is None:
            yield from release_zygote(state, zygote, now_s, "was interrupted by the stop")


def tell_to_leave(
    state: State, worker: Worker, timeout_s: float, now_s: float
) -> Iterator[ev.Effect]:
    """Have a worker drain; one that is still starting has nothing to finish."""
    wait_s = 0.0 if worker.state is WorkerState.STARTING else timeout_s
    worker.leaving = True
    worker.leave_at_s = None
    deadline_s = now_s + wait_s + state.limits.kill_grace_s
    if worker.kill_reason is None:
        worker.deadline_s = min(deadline_s, worker.deadline_s or deadline_s)
    is_gone = state.limits.has_own_listeners and worker.fork_id not in state.places
    empty_queue = (state.phase is Phase.STOPPING or is_gone) and wait_s > 0
    yield ev.DrainWorker(worker.row, wait_s, empty_queue)


def _drain_all(state: State, now_s: float) -> Iterator[ev.Effect]:
    drain_s = HURRIED_DRAIN_S if state.stop_hurried else state.limits.drain_timeout_s
    for worker in state.workers.values():
        yield from tell_to_leave(state, worker, drain_s, now_s)


def _kill_all(state: State) -> Iterator[ev.Effect]:
    for worker in state.workers.values():
        worker.deadline_s = None
        if worker.kill_reason is None:
            worker.kill_reason = "had no time left (second request to stop at once)"
            state.stop_forced = True
        yield ev.KillWorker(worker.row)
    for call in state.hook_calls.values():
        call.kill_reason = call.kill_reason or "was killed: the service had no time left"
        yield ev.KillHook(call.number)
    for zygote in state.zygotes.values():
        zygote.deadline_s = None
        zygote.kill_reason = zygote.kill_reason or f"{zygote_name(zygote)} had no time left"
        yield ev.KillZygote(zygote.generation)
