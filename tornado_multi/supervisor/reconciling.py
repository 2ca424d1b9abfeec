"""Comparing desired with observed, and starting or ending processes to match. Pure; see ``decide``."""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING

from tornado_multi.process.exit_codes import died_of_signal
from tornado_multi.process.scoreboard import MAX_ROWS
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.pauses import BUDGET_WINDOW_S, KILLS_AT_ONCE, budget_free_at_s
from tornado_multi.supervisor.reloading import ON_TRIAL, advance, start_zygote
from tornado_multi.supervisor.state import (
    Phase,
    Place,
    ReloadStep,
    State,
    Worker,
    WorkerState,
    Zygote,
    ZygoteState,
)
from tornado_multi.supervisor.stopping import begin_stop, release_last_zygote, tell_to_leave

if TYPE_CHECKING:
    from collections.abc import Iterator


def reconcile(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Do what the state asks for, until nothing is left to do in it."""
    if state.phase is Phase.STOPPING:
        if not state.listeners_closed and not any(
            worker.state is WorkerState.READY for worker in state.workers.values()
        ):
            state.listeners_closed = True
            yield ev.CloseListeners()
        yield from release_last_zygote(state, now_s)
        if not state.workers and not state.zygotes and not state.hook_calls:
            state.phase = Phase.FINISHED
            if state.exit_code == 0 and state.stop_forced:
                state.exit_code = died_of_signal(state.stop_signal or signal.SIGTERM)
            yield ev.Finish()
        return
    if state.phase is Phase.FINISHED:
        return
    if state.limits.is_script and _is_all_finished(state):
        state.stop_hurried = True
        yield ev.Say("info", "supervisor", "Every worker has finished.")
        yield from begin_stop(state, now_s)
        yield from reconcile(state, now_s)  # there may be no process left that says a word
        return
    yield from advance(state, now_s)
    yield from _replace_unwanted(state, now_s)
    yield from _close_listeners(state)
    zygote = filling_zygote(state)
    if zygote is not None:
        yield from _fill_places(state, zygote, now_s)
    elif _needs_zygote(state) and (state.zygote_retry_at_s or now_s) <= now_s:
        yield start_zygote(state, now_s)
    yield from _suspend_listeners(state)
    yield from _send_canary(state, now_s)
    yield from advance(state, now_s)


def _is_all_finished(state: State) -> bool:
    """Tell whether every worker of a script has returned, and nothing is under way."""
    finished = all(place.is_finished for place in state.places.values())
    return finished and not state.workers and state.reload is None


def filling_zygote(state: State) -> Zygote | None:
    """Return the zygote that fills places: the newest ready one that is wanted and not on trial."""
    trial = _generation_on_trial(state)
    ready = [
        zygote
        for zygote in state.zygotes.values()
        if zygote.state is ZygoteState.READY
        and zygote.kill_reason is None
        and not zygote.released
        and zygote.generation != trial
        and state.generation_is_wanted(zygote.generation)
    ]
    return max(ready, key=lambda zygote: zygote.generation, default=None)


def retry_times_s(state: State) -> list[float | None]:
    """Return the ends of the pauses that something waits for: monotonic, None = no pause."""
    if filling_zygote(state) is not None:
        return [place.retry_at_s for place in state.places.values()]
    return [state.zygote_retry_at_s] if _needs_zygote(state) else []


def _needs_zygote(state: State) -> bool:
    trial = _generation_on_trial(state)
    # One that imports, or was sent KILL and has not ended yet, is waited for.
    one_comes = any(
        not zygote.released
        and zygote.generation != trial
        and state.generation_is_wanted(zygote.generation)
        for zygote in state.zygotes.values()
    )
    # While a new generation is on trial it may become the one that is missing: wait for it.
    return not one_comes and trial is None


def _generation_on_trial(state: State) -> int | None:
    reload = state.reload
    return reload.generation if reload is not None and reload.step in ON_TRIAL else None


def _by_place(state: State) -> dict[int, list[Worker]]:
    """Return the workers that are not leaving, by fork_id."""
    found: dict[int, list[Worker]] = {}
    for worker in state.workers.values():
        if not worker.leaving:
            found.setdefault(worker.fork_id, []).append(worker)
    return found


def _replace_unwanted(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Let workers leave that have a ready successor, or may be missed, or whose place is gone."""
    by_place = _by_place(state)
    spare = _spare_workers(state, by_place)
    for fork_id, workers in by_place.items():
        place = state.places.get(fork_id)
        if place is None:
            for worker in workers:
                yield from _take_away(state, worker, now_s)
            continue
        has_successor = any(
            worker.state is WorkerState.READY and state.is_wanted(worker) for worker in workers
        )
        for worker in workers:
            if worker.leave_at_s is not None:  # its place is there again
                worker.leave_at_s = None
                yield ev.TellReadiness(worker.row, wants_requests=state.stop_due_s is None)
            if state.is_wanted(worker):
                continue
            is_serving = worker.state is WorkerState.READY and not has_successor
            if is_serving and spare > 0 and len(workers) == 1:
                spare -= 1
            elif is_serving:
                continue
            if worker.recycle_reason is not None:
                place.recycled += 1
                place.last_recycle = worker.recycle_reason
            yield from tell_to_leave(state, worker, state.limits.drain_timeout_s, now_s)


def _spare_workers(state: State, by_place: dict[int, list[Worker]]) -> int:
    """Return how many more workers may leave without a successor (``max_unavailable``)."""
    reload = state.reload
    is_rolling = reload is not None and reload.step is ReloadStep.ROLLING
    has_to_wait = state.limits.surge(state.desired_workers) == 0  # also for a single restart
    if not (is_rolling or has_to_wait) or filling_zygote(state) is None:
        return 0
    missing = sum(
        all(worker.state is not WorkerState.READY for worker in by_place.get(fork_id, []))
        for fork_id in state.places
    )
    return state.limits.unavailable(state.desired_workers) - missing


def _take_away(state: State, worker: Worker, now_s: float) -> Iterator[ev.Effect]:
    """Let a worker leave whose place is gone. An instance's balancer may have to hear of it first."""
    if not state.limits.has_own_listeners:
        yield from tell_to_leave(state, worker, state.limits.drain_timeout_s, now_s)
        return
    delay_s = state.limits.drain_delay_s
    if delay_s > 0 and worker.state is WorkerState.READY and worker.leave_at_s is None:
        worker.leave_at_s = now_s + delay_s
        yield ev.TellReadiness(worker.row, wants_requests=False)
    if worker.leave_at_s is None or worker.leave_at_s <= now_s:
        if not _has_another_that_serves(state, worker):
            yield ev.RefuseConnections(worker.fork_id)
        yield from tell_to_leave(state, worker, state.limits.drain_timeout_s, now_s)


def _has_another_that_serves(state: State, worker: Worker) -> bool:
    """Tell whether somebody else takes from the same listener: its predecessor, whose delay runs."""
    return any(
        other is not worker
        and other.fork_id == worker.fork_id
        and other.state is WorkerState.READY
        and not other.leaving
        for other in state.workers.values()
    )


def _close_listeners(state: State) -> Iterator[ev.Effect]:
    """Close the listeners of instances that are gone, once nobody takes from them any more."""
    taking = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is not WorkerState.DRAINING
    }
    for fork_id in state.listeners_to_close:
        if fork_id not in taking:
            yield ev.CloseListeners(fork_id)
    state.listeners_to_close = [item for item in state.listeners_to_close if item in taking]


def _suspend_listeners(state: State) -> Iterator[ev.Effect]:
    """Let an instance in a pause refuse connections: a queue that nobody takes from would hold them.

    A proxy turns to another instance at once then.
    """
    if not state.limits.has_own_listeners:
        return
    served = _by_place(state).keys()
    has_no_zygote = filling_zygote(state) is None and state.zygote_retry_at_s is not None
    for place in state.places.values():
        is_paused = place.retry_at_s is not None or has_no_zygote
        if is_paused and place.fork_id not in {*served, *state.suspended_listeners}:
            state.suspended_listeners.append(place.fork_id)
            yield ev.SuspendListener(place.fork_id)


def _fill_places(state: State, zygote: Zygote, now_s: float) -> Iterator[ev.Effect]:
    """Start what is missing: at once where nobody serves, else as many as the surge allows."""
    by_place = _by_place(state)
    surge = state.limits.surge(state.desired_workers)
    still_there = {worker.fork_id for worker in state.workers.values()}
    surge_left = surge - sum(
        any(worker.state is WorkerState.READY for worker in workers)
        and any(worker.state is WorkerState.STARTING for worker in workers)
        for workers in by_place.values()
    )
    for place in _in_turn(state, by_place):
        if place.retry_at_s is not None and place.retry_at_s > now_s:
            continue
        place.retry_at_s = None
        workers = by_place.get(place.fork_id, [])
        if place.is_finished or any(state.is_wanted(worker) for worker in workers):
            continue
        if surge == 0 and place.fork_id in still_there:
            continue
        if any(worker.state is WorkerState.READY for worker in workers):
            if surge_left <= 0:
                continue
            surge_left -= 1
        if _replaces_a_young_death(place, workers):
            free_at_s = budget_free_at_s(state.respawns_s, state.limits.respawns_per_min, now_s)
            if free_at_s is not None:
                yield from _put_off(state, place, free_at_s, now_s)
                continue
            state.respawns_s.append(now_s)
        if len(state.workers) < MAX_ROWS:  # else so many still leave: the next end brings us back
            yield _fork(state, zygote, place, now_s)


def _in_turn(state: State, by_place: dict[int, list[Worker]]) -> list[Place]:
    """Return the places as they get a worker: who was put off longest, then whose is oldest.

    Else the first few, dying again and again, would use up the budget of all; or, worn again and
    again, the surge, and a reload would never get to the others.
    """

    def turn(place: Place) -> tuple[float, float]:
        begun_s = [worker.started_s for worker in by_place.get(place.fork_id, [])]
        return place.put_off_s or math.inf, min(begun_s, default=-math.inf)

    return sorted(state.places.values(), key=turn)


def _replaces_a_young_death(place: Place, workers: list[Worker]) -> bool:
    """Tell whether a start counts in the budget: nobody serves there, because one died young."""
    died_young = place.failures > 0 or place.kills > KILLS_AT_ONCE
    return died_young and not any(worker.state is WorkerState.READY for worker in workers)


def _put_off(state: State, place: Place, free_at_s: float, now_s: float) -> Iterator[ev.Effect]:
    """Let a place wait until the budget has room again; say so once a minute."""
    place.retry_at_s = free_at_s
    if place.put_off_s is None:
        place.put_off_s = now_s
    if state.budget_said_s is None or state.budget_said_s + BUDGET_WINDOW_S <= now_s:
        state.budget_said_s = now_s
        text = (
            f"In the last minute {state.limits.respawns_per_min} workers were started in place of "
            f"ones that died young (respawns_per_min); the next start is in {free_at_s - now_s:.0f} "
            f"s. Worker {place.fork_id} {place.last_end}."
        )
        yield ev.Say("error", "supervisor", text)


def _fork(
    state: State, zygote: Zygote, place: Place, now_s: float, *, is_canary: bool = False
) -> ev.Effect:
    place.retry_at_s = place.put_off_s = None
    if place.fork_id in state.suspended_listeners:
        state.suspended_listeners.remove(place.fork_id)
    row = state.free_row(MAX_ROWS)
    state.workers[row] = Worker(
        row=row,
        fork_id=place.fork_id,
        generation=zygote.generation,
        started_s=now_s,
        deadline_s=now_s + state.limits.boot_timeout_s,
    )
    return ev.ForkWorker(zygote.generation, row, place.fork_id, is_canary)


def _send_canary(state: State, now_s: float) -> Iterator[ev.Effect]:
    reload = state.reload
    if reload is None or reload.step is not ReloadStep.CANARY or reload.generation is None:
        return
    zygote = state.zygotes.get(reload.generation)
    sent = any(worker.generation == reload.generation for worker in state.workers.values())
    if zygote is not None and zygote.state is ZygoteState.READY and not sent:
        first = min(state.places)
        yield _fork(state, zygote, state.places[first], now_s, is_canary=True)
