"""The service's state as ``status --json`` shows it. Pure: state and row fields in, data out.

Figures that are not known are None, never 0. Keys are a contract: extend, don't rename.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tornado_multi.process import scoreboard as sb
from tornado_multi.supervisor.reconciling import filling_zygote
from tornado_multi.supervisor.state import Phase, Place, Reload, State, Worker, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where workers log, as absolute paths; both None: to standard error."""

    directory: str | None = None
    file: str | None = None
    form: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens, as people are shown it."""

    text: str
    fork_id: int | None = None
    """Whose it is; None: all workers share it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the supervisor lives."""

    pid: int
    name: str
    version: str
    app: str
    control_path: str
    control_options: str
    """What a command must be given to find this supervisor: `` --control /x``, or nothing."""
    addresses: tuple[Address, ...]
    backlog: int
    started_s: float
    """Monotonic."""
    mode: Literal["serve", "instances", "script"] = "serve"
    memory_limit_bytes: int | None = None
    """Of the control group; None: no limit."""
    logs: LogPlace = LogPlace()


def build_status(
    identity: Identity,
    state: State,
    read_field: Callable[[int, int], int],
    route_name: Callable[[int, int], str | None],
    now_s: float,
    *,
    told_by: Callable[[int], dict[str, list[dict[str, Any]]]],
    strangers_reaped: int,
) -> dict[str, Any]:
    """Return the whole status.

    Args:
        read_field: (row, field of the scoreboard) -> the word.
        route_name: (row, route id) -> the name that the worker gave it, or None.
        now_s: monotonic.
        told_by: row -> what its worker has told: its resources, its slow steps.
    Runs in: supervisor.
    """
    rows = [
        _worker_row(worker, state, read_field, route_name, now_s) | told_by(worker.row)
        for worker in sorted(state.workers.values(), key=lambda item: (item.fork_id, item.row))
    ]
    present = {worker.fork_id for worker in state.workers.values() if not worker.leaving}
    rows += [
        _empty_row(state, fork_id, now_s) for fork_id in state.places if fork_id not in present
    ]
    ready = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is WorkerState.READY and not worker.leaving
    }
    past = state.past_requests + sum(place.past_requests for place in state.places.values())
    return {
        "pid": identity.pid,
        "name": identity.name,
        "version": identity.version,
        "mode": identity.mode,
        "app": identity.app,
        "state": str(_shown_phase(state)),
        "uptime_s": round(now_s - identity.started_s, 3),
        "control": identity.control_path,
        "memory_limit_bytes": identity.memory_limit_bytes,
        "generation": state.serving_generation(),
        "ready_workers": len(ready.intersection(state.places)),
        "desired_workers": sum(not place.is_finished for place in state.places.values()),
        "listeners": [
            {"address": item.text, "fork_id": item.fork_id, "backlog": identity.backlog}
            for item in identity.addresses
        ],
        "zygotes": [
            {
                "generation": zygote.generation,
                "pid": zygote.pid,
                "state": str(zygote.state),
                "import_s": zygote.import_s,
            }
            for zygote in state.zygotes.values()
        ],
        "zygote_problem": state.zygote_problem,
        "logs": {
            "directory": identity.logs.directory,
            "file": identity.logs.file,
            "format": identity.logs.form,
        },
        "strangers_reaped": strangers_reaped,
        "requests_total": past + sum(row["requests"] or 0 for row in rows),
        "recycled_total": state.past_recycled
        + sum(place.recycled for place in state.places.values()),
        "workers": sorted(rows, key=lambda row: row["fork_id"]),
        "reload": None if state.reload is None else reload_progress(state),
        "last_reload": None if state.last_reload is None else dataclasses.asdict(state.last_reload),
        "fork_safety": state.fork_safety(),
    }


def _shown_phase(state: State) -> Phase:
    """Return what the service is doing; one that only serves on for a while is stopping too."""
    is_due = state.stop_due_s is not None and state.phase is Phase.SERVING
    return Phase.STOPPING if is_due else state.phase


def _worker_row(
    worker: Worker,
    state: State,
    read_field: Callable[[int, int], int],
    route_name: Callable[[int, int], str | None],
    now_s: float,
) -> dict[str, Any]:
    def field(number: int) -> int:
        return read_field(worker.row, number)

    place = state.places.get(worker.fork_id)
    begun = field(sb.STARTED_NS) != 0  # the worker has taken its row
    beat_ns = field(sb.BEAT_NS)
    route_id = field(sb.ROUTE_ID)
    now_ns = int(now_s * NS_PER_S)
    return {
        "pool": "web",
        "fork_id": worker.fork_id,
        # A worker may be ready before the zygote has announced it; its own word is in its row.
        "pid": worker.pid or field(sb.PID) or None,
        "generation": worker.generation,
        "state": str(_shown_state(worker)),
        "requests": field(sb.REQUESTS) if begun else None,
        "in_flight": field(sb.IN_FLIGHT) if begun else None,
        "connections": field(sb.CONNECTIONS) if begun else None,
        "loop_lag_s": round(field(sb.LAG_NS) / NS_PER_S, 6) if beat_ns else None,
        "beat_age_s": round(max(0, now_ns - beat_ns) / NS_PER_S, 6) if beat_ns else None,
        "silent_s": (
            None if worker.silent_since_s is None else round(now_s - worker.silent_since_s, 3)
        ),
        "is_stopped": worker.is_stopped,
        "route": route_name(worker.row, route_id) if route_id else None,
        "pss_bytes": field(sb.PSS_BYTES) or None,
        "rss_bytes": field(sb.RSS_BYTES) or None,
        "cpu_s": round(field(sb.CPU_NS) / NS_PER_S, 6) if beat_ns else None,
        "uptime_s": round(now_s - worker.started_s, 3),
        **_past(place, now_s),
        "retry_in_s": None,
    }


def _past(place: Place | None, now_s: float) -> dict[str, Any]:
    """Return what a place remembers of its former workers; None: a place that is gone."""
    if place is None:
        return dict.fromkeys(["restarts", "last_end", "last_end_age_s", "recycled", "last_recycle"])
    ended_s = place.last_end_s
    return {
        "restarts": place.restarts,
        "last_end": place.last_end,
        "last_end_age_s": None if ended_s is None else round(max(0.0, now_s - ended_s), 3),
        "recycled": place.recycled,
        "last_recycle": place.last_recycle,
    }


def _shown_state(worker: Worker) -> WorkerState:
    """Return the state; a worker that was told to leave and can't hear it is draining too."""
    if worker.leaving and worker.state is WorkerState.READY:
        return WorkerState.DRAINING
    return worker.state


def _empty_row(state: State, fork_id: int, now_s: float) -> dict[str, Any]:
    place = state.places[fork_id]
    # What serves is to have a worker in each place: if it has not, it waits, if for a zygote only.
    is_serving = state.phase is Phase.SERVING and not place.is_finished
    waiting = place.retry_at_s is not None or is_serving
    retry_at_s = _retry_at_s(state, place) if waiting else None
    known = {
        "pool": "web",
        "fork_id": fork_id,
        "state": str(WorkerState.BACKOFF if waiting else WorkerState.STOPPED),
        **_past(place, now_s),
        "retry_in_s": None if retry_at_s is None else round(max(0.0, retry_at_s - now_s), 3),
    }
    unknown = (
        "pid generation requests in_flight connections loop_lag_s beat_age_s silent_s is_stopped "
        "route pss_bytes rss_bytes cpu_s uptime_s resources slow_steps"
    )
    return known | dict.fromkeys(unknown.split())


def _retry_at_s(state: State, place: Place) -> float | None:
    """Return when a place that waits is tried next; None: when the zygote has imported the app."""
    if filling_zygote(state) is not None:
        return place.retry_at_s
    if state.zygote_retry_at_s is None:
        return None
    return max(state.zygote_retry_at_s, place.retry_at_s or 0.0)


def reload_progress(state: State) -> dict[str, Any]:
    """Return where the reload under way is."""
    reload = state.reload
    assert reload is not None
    ready = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is WorkerState.READY
        and not worker.leaving
        and worker.generation > reload.base_generation
    }
    return {
        "number": reload.number,
        "step": str(reload.step),
        "generation": reload.generation,
        "import_s": reload.import_s,
        "canary_s": reload.canary_s,
        "fork_safety": reload.fork_safety,
        "ready": sorted(ready),
        "of": len(state.places),
        "draining": _draining(state),
        "queued": state.reload_queued,
    }


def committed_report(state: State, now_s: float) -> dict[str, Any]:
    """Return the report of a reload that is committed while old workers still drain."""
    reload = state.reload
    assert isinstance(reload, Reload)
    return {
        "number": reload.number,
        "succeeded": True,
        "generation": state.serving_generation(),
        "duration_s": now_s - reload.started_s,
        "import_s": reload.import_s,
        "canary_s": reload.canary_s,
        "fork_safety": reload.fork_safety,
        "drained": reload.drained,
        "cut": reload.cut,
        "notes": reload.notes,
        "reason": None,
        "detail": None,
    }


def settling(state: State, fork_ids: set[int]) -> dict[str, Any]:
    """Return what is still to happen until these fork_ids are served and nothing else leaves."""
    ready = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is WorkerState.READY and not worker.leaving and state.is_wanted(worker)
    }
    draining = [
        worker.fork_id
        for worker in state.workers.values()
        if (worker.leaving and worker.fork_id in fork_ids) or worker.fork_id not in state.places
    ]
    return {"starting": sorted(fork_ids - ready), "draining": sorted(draining)}


def unsettled_problem(state: State, fork_ids: set[int]) -> str | None:
    """Return why these fork_ids can't be served just now, if they can't."""
    for fork_id in sorted(fork_ids):
        place = state.places.get(fork_id)
        if place is None:
            return f"Worker {fork_id} was taken away by another command meanwhile."
        if place.retry_at_s is not None:
            return f"Worker {fork_id} does not come up: {place.last_end}."
        if place.is_finished:
            return f"Worker {fork_id} has {place.last_end}."
    coming = {
        worker.fork_id
        for worker in state.workers.values()
        if not worker.leaving and state.is_wanted(worker)
    }
    no_zygote = state.zygote_retry_at_s is not None and state.zygote_problem is not None
    if no_zygote and not coming.issuperset(fork_ids):
        return f"No worker can be forked: {state.zygote_problem}"
    return None


def _draining(state: State) -> int:
    return sum(worker.leaving for worker in state.workers.values())
