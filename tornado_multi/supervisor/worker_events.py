"""What the news of a worker means. Pure; see ``decide``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.deaths import note_end, replacing
from tornado_multi.supervisor.liveness import worker_worn
from tornado_multi.supervisor.pauses import count_kill
from tornado_multi.supervisor.reloading import became_ready, concerns, fail_reload
from tornado_multi.supervisor.state import Failure, Phase, State, Worker, WorkerState
from tornado_multi.supervisor.stopping import fail
from tornado_multi.supervisor.wording import counted, worker_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.messages import Drained

TOLD_S = 0.1
"""What comes after a drain is told from this time on."""


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
    if state.stop_due_s is not None:
        yield ev.TellReadiness(row, wants_requests=False)
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
            note_end(place, "told to leave by SIGTERM", now_s)
            count_kill(place, now_s)
        text = f"Told to leave by SIGTERM; {replacing(state)}."
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
        parts.append(f"{counted(report.closed_websockets, 'websocket')} closed")
    if report.ended_streams:
        parts.append(f"{counted(report.ended_streams, 'event stream')} ended")
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
