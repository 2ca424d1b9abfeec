"""What is told of a death: why, from evidence only, and the record of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.reconciling import filling_zygote
from tornado_multi.supervisor.wording import counted, worker_name

if TYPE_CHECKING:
    from tornado_multi.supervisor.state import Place, State, Worker

OWN_ABORT = "Fatal Python error: Aborted"
"""How faulthandler begins what it writes at ABRT, ours included."""


def why_it_ended(worker: Worker, event: ev.WorkerEnded) -> str:
    """Return how a worker ended, as it follows "The worker"."""
    why = f"was killed: it {worker.kill_reason}" if worker.kill_reason else str(event.end)
    if worker.error is not None:
        why += f", by {worker.error}"
    if event.oom is not None:
        why += f", for want of memory ({event.oom})"
    if event.in_flight:
        why += f", with {counted(event.in_flight, 'request')} in flight"
        why += f" ({event.route} ran last)" if event.route else ""
    return why


def say_stacks(worker: Worker, stacks: str) -> ev.Say:
    """Return the line about a worker's threads at its end; at our own ABRT it has not crashed."""
    if worker.is_aborted and stacks.startswith(OWN_ABORT):
        text = "Where its threads were when the supervisor ended it:\n"
        text += stacks.removeprefix(OWN_ABORT).lstrip("\n")
        return ev.Say("warning", worker_name(worker), text.rstrip())
    return ev.Say("error", worker_name(worker), f"Its last words:\n{stacks}")


def exit_report(
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


def note_end(place: Place, why: str, now_s: float) -> None:
    """Keep how a place's last worker ended, for the status."""
    place.last_end, place.last_end_s = why, now_s


def replacing(state: State) -> str:
    """Return what is done about a lost worker, now or when it can be."""
    if filling_zygote(state) is None:
        return "replacing it as soon as a zygote is ready"
    return "replacing it"
