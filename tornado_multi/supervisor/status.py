"""The service's state as ``status --json`` shows it. Pure: state and row fields in, data out.

Figures that are not known are None, never 0. Keys are a contract: extend, don't rename.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado_multi.process import scoreboard as sb
from tornado_multi.supervisor.state import State, Worker, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the supervisor lives."""

    pid: int
    name: str
    version: str
    app: str
    control_path: str
    addresses: tuple[str, ...]
    backlog: int
    started_s: float
    """Monotonic."""


def build_status(
    identity: Identity,
    state: State,
    read_field: Callable[[int, int], int],
    route_name: Callable[[int, int], str | None],
    now_s: float,
    *,
    strangers_reaped: int,
) -> dict[str, Any]:
    """Return the whole status.

    Args:
        read_field: (row, field of the scoreboard) -> the word.
        route_name: (row, route id) -> the name that the worker gave it, or None.
        now_s: monotonic.
    Runs in: supervisor.
    """
    rows = [
        _worker_row(worker, state, read_field, route_name, now_s)
        for worker in sorted(state.workers.values(), key=lambda item: (item.fork_id, item.row))
    ]
    present = {worker.fork_id for worker in state.workers.values() if not worker.leaving}
    rows += [_empty_row(state, fork_id) for fork_id in state.places if fork_id not in present]
    past = sum(place.past_requests for place in state.places.values())
    return {
        "pid": identity.pid,
        "name": identity.name,
        "version": identity.version,
        "mode": "serve",
        "app": identity.app,
        "state": str(state.phase),
        "uptime_s": round(now_s - identity.started_s, 3),
        "control": identity.control_path,
        "generation": state.generation,
        "listeners": [
            {"address": address, "backlog": identity.backlog} for address in identity.addresses
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
        "strangers_reaped": strangers_reaped,
        "requests_total": past + sum(row["requests"] or 0 for row in rows),
        "workers": sorted(rows, key=lambda row: row["fork_id"]),
        "reload": None,
        "last_reload": None,
        "fork_safety": None,
    }


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
        "pid": worker.pid,
        "generation": worker.generation,
        "state": str(worker.state),
        "requests": field(sb.REQUESTS) if begun else None,
        "in_flight": field(sb.IN_FLIGHT) if begun else None,
        "connections": field(sb.CONNECTIONS) if begun else None,
        "loop_lag_s": field(sb.LAG_NS) / NS_PER_S if beat_ns else None,
        "beat_age_s": max(0, now_ns - beat_ns) / NS_PER_S if beat_ns else None,
        "route": route_name(worker.row, route_id) if route_id else None,
        "pss_bytes": field(sb.PSS_BYTES) or None,
        "rss_bytes": field(sb.RSS_BYTES) or None,
        "cpu_s": field(sb.CPU_NS) / NS_PER_S if beat_ns else None,
        "uptime_s": round(now_s - worker.started_s, 3),
        "restarts": place.restarts if place else None,
        "last_end": place.last_end if place else None,
    }


def _empty_row(state: State, fork_id: int) -> dict[str, Any]:
    place = state.places[fork_id]
    waiting = place.retry_at_s is not None
    known = {
        "pool": "web",
        "fork_id": fork_id,
        "state": str(WorkerState.BACKOFF if waiting else WorkerState.STOPPED),
        "restarts": place.restarts,
        "last_end": place.last_end,
    }
    unknown = (
        "pid generation requests in_flight connections loop_lag_s beat_age_s route pss_bytes "
        "rss_bytes cpu_s uptime_s"
    )
    return known | dict.fromkeys(unknown.split())
