"""The reload, as a transaction. Pure; see ``decide``.

  READING, IMPORTING, CANARY, ROLLING, then DRAINING: committed; the report says "succeeded".
  A failure in any of the first four leads to ROLLING_BACK; the report says "failed".

Nothing of the old generation is touched before the canary is ready. From then on ``reconcile``
replaces workers whose generation is not wanted; this module only says which generations are wanted,
and when the reload is committed, failed or over.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.hook_calls import call_hook
from tornado_multi.supervisor.state import (
    Failure,
    Phase,
    Place,
    Reload,
    ReloadReport,
    ReloadStep,
    WorkerState,
    Zygote,
    ZygoteState,
)
from tornado_multi.supervisor.stopping import release_zygote, tell_to_leave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.supervisor.state import State, Worker

BEFORE_COMMIT = frozenset(
    {ReloadStep.READING, ReloadStep.IMPORTING, ReloadStep.CANARY, ReloadStep.ROLLING}
)
ON_TRIAL = frozenset({ReloadStep.IMPORTING, ReloadStep.CANARY})


def reload_asked(state: State, by: str, now_s: float) -> Iterator[ev.Effect]:
    """Begin a reload, or remember that one more is wanted."""
    if state.stop_due_s is not None:
        return
    if state.phase is Phase.SERVING and state.reload is None:
        yield ev.Say("info", "supervisor", f"Reloading, by {by}.")
        yield from _begin(state, now_s)
    elif state.phase in {Phase.BOOTING, Phase.SERVING}:
        state.reload_queued = True


def _begin(state: State, now_s: float) -> Iterator[ev.Effect]:
    state.reload_queued = False
    state.reload_count += 1
    state.reload = Reload(
        number=state.reload_count,
        started_s=now_s,
        step=ReloadStep.READING,
        base_generation=state.generation,
    )
    yield ev.ReadSettings()


def settings_read(state: State, event: ev.SettingsRead, now_s: float) -> Iterator[ev.Effect]:
    """Start the new generation's zygote."""
    reload = state.reload
    if reload is None or reload.step is not ReloadStep.READING:
        return
    reload.old_limits = state.limits
    state.limits = event.limits
    reload.notes = list(event.notes)
    for note in event.notes:
        yield ev.Say("warning", "supervisor", note)
    reload.desired_workers = event.desired_workers
    reload.step = ReloadStep.IMPORTING
    reload.base_generation = state.generation  # a lost zygote may have been replaced meanwhile
    yield start_zygote(state, now_s)
    reload.generation = state.generation


def start_zygote(state: State, now_s: float) -> ev.Effect:
    """Start a zygote of the next generation."""
    state.generation += 1
    state.zygote_retry_at_s = None
    state.zygotes[state.generation] = Zygote(
        generation=state.generation, deadline_s=now_s + state.limits.boot_timeout_s
    )
    return ev.StartZygote(state.generation)


def scale(state: State, desired_workers: int) -> None:
    """Change the number of places; ``reconcile`` does the rest."""
    state.desired_workers = desired_workers
    for fork_id in range(desired_workers):
        state.places.setdefault(fork_id, Place(fork_id))
    state.listeners_to_close = [
        fork_id for fork_id in state.listeners_to_close if fork_id not in state.places
    ]
    for fork_id in [item for item in state.places if item >= desired_workers]:
        place = state.places.pop(fork_id)
        if state.limits.has_own_listeners:
            state.listeners_to_close.append(fork_id)
        if fork_id in state.suspended_listeners:
            state.suspended_listeners.remove(fork_id)
        state.past_requests += place.past_requests
        state.past_recycled += place.recycled


def imported(state: State, zygote: Zygote, workers: int | None) -> None:
    """Note that the new generation's zygote is ready: the canary comes next (see ``reconcile``).

    Args: workers: script mode: the number that the script gave ``fork_processes``.
    """
    reload = state.reload
    if reload is None or reload.generation != zygote.generation:
        return
    if reload.step is ReloadStep.IMPORTING:
        reload.asked_workers = workers
        if workers is not None and workers != state.asked_workers:
            reload.desired_workers = workers
        reload.import_s = zygote.import_s
        reload.step = ReloadStep.CANARY


def became_ready(state: State, worker: Worker, now_s: float) -> None:
    """Note a ready worker: if it is the canary, the old generations are no longer wanted."""
    reload = state.reload
    if (
        reload is not None
        and reload.step is ReloadStep.CANARY
        and worker.generation == reload.generation
    ):
        reload.canary_s = now_s - worker.started_s
        reload.step = ReloadStep.ROLLING
        state.oldest_wanted = reload.base_generation + 1
        if reload.desired_workers is not None:
            reload.old_desired_workers = state.desired_workers
            scale(state, reload.desired_workers)
        for place in state.places.values():  # what made the old code fail may be mended
            place.failures = 0
            place.retry_at_s = None
            place.is_finished = False


def concerns(state: State, generation: int) -> bool:
    """Tell whether a failure of this generation is a failure of a reload that can still fail."""
    reload = state.reload
    return (
        reload is not None and reload.step in BEFORE_COMMIT and generation > reload.base_generation
    )


def fail_reload(state: State, failure: Failure, now_s: float) -> Iterator[ev.Effect]:
    """Give the reload up: the old generations are wanted again, the new ones never more."""
    reload = state.reload
    if reload is None or reload.step not in BEFORE_COMMIT:
        return
    reload.failure = failure
    reload.step = ReloadStep.ROLLING_BACK
    if reload.old_limits is not None:
        state.limits = reload.old_limits
        yield ev.RestoreSettings()
    # Not if somebody has scaled since.
    if reload.old_desired_workers is not None and state.desired_workers == reload.desired_workers:
        scale(state, reload.old_desired_workers)
    _give_back_listeners(state, reload)
    state.oldest_wanted = 0
    new = range(reload.base_generation + 1, state.generation + 1)
    if not _can_go_back(state, reload):
        # The old zygote is lost: a fork_id that has only a new worker keeps it.
        reload.notes.append(
            "The old generation's zygote is gone, so that fork_ids whose old worker has left keep "
            "their new one."
        )
    else:
        state.refused_generations = [
            generation
            for generation in {*state.refused_generations, *new}
            if any(item.generation == generation for item in state.workers.values())
            or generation in state.zygotes
        ]
    for generation in new:
        if zygote := state.zygotes.get(generation):
            yield from release_zygote(state, zygote, now_s, "belonged to a failed reload")
    for worker in state.workers.values():
        starting = worker.state is WorkerState.STARTING and not worker.leaving
        if starting and worker.generation in new:
            yield from tell_to_leave(state, worker, 0.0, now_s)


def _give_back_listeners(state: State, reload: Reload) -> None:
    """Have the listeners closed that were opened for instances which will not come."""
    if state.limits.has_own_listeners and reload.desired_workers is not None:
        not_to_come = set(range(reload.desired_workers)) - set(state.places)
        state.listeners_to_close += sorted(not_to_come - set(state.listeners_to_close))


def _can_go_back(state: State, reload: Reload) -> bool:
    return any(
        zygote.generation <= reload.base_generation
        and zygote.state is ZygoteState.READY
        and zygote.kill_reason is None
        for zygote in state.zygotes.values()
    ) or reload.step in {ReloadStep.READING, ReloadStep.IMPORTING, ReloadStep.CANARY}


def advance(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Commit, end or begin reloads, where the state says that it is time."""
    reload = state.reload
    if reload is None:
        if state.reload_queued and state.phase is Phase.SERVING:
            yield from _begin(state, now_s)
        return
    if reload.step is ReloadStep.ROLLING and _all_places_are_ready(state):
        reload.step = ReloadStep.DRAINING
        state.asked_workers = reload.asked_workers
        yield from _release_old_zygotes(state, now_s)
    over = not any(_is_unfinished(state, worker) for worker in state.workers.values())
    if reload.step is ReloadStep.ROLLING_BACK and not over and _old_code_fails(state):
        reload.notes.append(
            "The old code does not boot any more: fork_ids whose old worker had left keep their "
            "new one, or wait."
        )
        over = True
    if reload.step in {ReloadStep.DRAINING, ReloadStep.ROLLING_BACK} and over:
        yield from _end(state, reload, now_s)


def _old_code_fails(state: State) -> bool:
    """Tell whether a rollback can't end: a place that is to go back is in backoff."""
    return any(place.retry_at_s is not None for place in state.places.values())


def _all_places_are_ready(state: State) -> bool:
    ready = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is WorkerState.READY
        and not worker.leaving
        and state.generation_is_wanted(worker.generation)  # one that is worn has been ready too
    }
    return ready.issuperset(state.places)


def _release_old_zygotes(state: State, now_s: float) -> Iterator[ev.Effect]:
    for zygote in list(state.zygotes.values()):
        if not state.generation_is_wanted(zygote.generation):
            yield from release_zygote(state, zygote, now_s, "was replaced by a reload")


def _is_unfinished(state: State, worker: Worker) -> bool:
    """Tell whether a reload waits for this worker's end.

    Not for one of the generation that stays which is merely worn: there may always be such a one.
    """
    if not state.generation_is_wanted(worker.generation):
        return True
    return worker.recycle_reason is None and (worker.leaving or worker.outdated)


def _end(state: State, reload: Reload, now_s: float) -> Iterator[ev.Effect]:
    failure = reload.failure
    state.last_reload = ReloadReport(
        number=reload.number,
        succeeded=failure is None,
        generation=state.serving_generation(),
        duration_s=now_s - reload.started_s,
        import_s=reload.import_s,
        canary_s=reload.canary_s,
        drained=reload.drained,
        cut=reload.cut,
        notes=reload.notes,
        reason=None if failure is None else failure.reason,
        detail=None if failure is None else failure.detail,
        fork_safety=reload.fork_safety,
    )
    state.reload = None
    report = state.last_reload
    yield ev.SettleListeners(report.generation)
    yield from call_hook(state, "on_reload", dataclasses.asdict(report), now_s)
    if failure is None:
        text = (
            f"Reloaded: generation {report.generation} serves, workers drained: {report.drained}, "
            f"requests cut: {report.cut}, {report.duration_s:.1f} s."
        )
        yield ev.Say("info", "supervisor", text)
    else:
        text = (
            f"The reload failed: {failure.reason}\n{failure.detail}".rstrip()
            + f"\nGeneration {report.generation} serves on."
        )
        extra = {} if failure.death is None else {"death": failure.death}
        yield ev.Say("error", "supervisor", text, extra)
    if state.reload_queued and state.phase is Phase.SERVING:
        yield from _begin(state, now_s)
