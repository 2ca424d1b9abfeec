"""The service's state as status shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.histories import (
    CRASHED,
    KILLED,
    LEFT,
    LIMITS,
    TERM,
    Replay,
    loaded,
    replay,
    serving,
    started_worker,
)

from tornado_multi.process import scoreboard as sb
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.status import Address, Identity, build_status

if TYPE_CHECKING:
    from tornado_multi.supervisor.state import State

IDENTITY = Identity(
    pid=4242,
    name="shop",
    version="0.1.0",
    app="shop:make_app",
    control_path="/run/tornado_multi/shop.sock",
    control_options="",
    addresses=(Address("http://127.0.0.1:8888"), Address("unix:/run/shop.sock")),
    backlog=128,
    started_s=100.0,
)
NOW_S = 160.0
SECOND_NS = 1_000_000_000
CONTRACT = {
    "pid",
    "name",
    "version",
    "mode",
    "state",
    "generation",
    "listeners",
    "zygotes",
    "workers",
    "reload",
    "last_reload",
    "fork_safety",
}
WORKER_CONTRACT = {
    "pool",
    "fork_id",
    "pid",
    "generation",
    "state",
    "requests",
    "in_flight",
    "connections",
    "loop_lag_s",
    "beat_age_s",
    "route",
    "pss_bytes",
    "rss_bytes",
    "cpu_s",
    "uptime_s",
    "restarts",
}

Rows = dict[int, dict[int, int]]
"""row -> field -> word; what is missing is 0, as in a cleared row."""


def status_of(state: State, rows: Rows | None = None, **values: Any) -> dict[str, Any]:
    names = {(0, 3): "GET shop.Home"}
    given = {
        "read_field": lambda row, number: (rows or {}).get(row, {}).get(number, 0),
        "route_name": lambda row, number: names.get((row, number)),
        "told_by": lambda _: {"resources": [], "slow_steps": []},
        "now_s": NOW_S,
        "strangers_reaped": 0,
    }
    return build_status(IDENTITY, state, **given | values)


def workers_of(state: State, rows: Rows | None = None) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = status_of(state, rows)["workers"]
    return workers


def two_ready() -> Replay:
    return replay(serving(2, at_s=150.0), workers=2)


def test_the_keys_are_a_contract() -> None:
    """Every key that people rely on is there, in every row, and all of it is JSON."""
    seen = two_ready().then((151.0, ev.WorkerEnded(1, CRASHED, 0)))
    status = status_of(seen.state)

    assert set() == CONTRACT - set(status)
    for row in status["workers"]:
        assert set() == WORKER_CONTRACT - set(row)
    assert status == json.loads(json.dumps(status))


def test_the_service_itself() -> None:
    """Who it is, since when, where it listens, and the generation loaded last."""
    status = status_of(two_ready().state)

    assert (4242, "shop", "0.1.0", "serve", "serving", 1, 60.0) == tuple(
        status[key] for key in ("pid", "name", "version", "mode", "state", "generation", "uptime_s")
    )
    assert [
        {"address": "http://127.0.0.1:8888", "fork_id": None, "backlog": 128},
        {"address": "unix:/run/shop.sock", "fork_id": None, "backlog": 128},
    ] == status["listeners"]
    assert [{"generation": 1, "pid": 101, "state": "ready", "import_s": 0.25}] == status["zygotes"]
    assert 7 == status_of(two_ready().state, strangers_reaped=7)["strangers_reaped"]


def test_a_worker_that_beats_shows_its_figures() -> None:
    """Words of the row become figures with units; the route's number becomes its name."""
    rows = {
        0: {
            sb.STARTED_NS: 150 * SECOND_NS,
            sb.BEAT_NS: 159 * SECOND_NS,
            sb.REQUESTS: 12,
            sb.IN_FLIGHT: 1,
            sb.CONNECTIONS: 4,
            sb.LAG_NS: 2_500_000,
            sb.ROUTE_ID: 3,
            sb.CPU_NS: 1_500_000_000,
            sb.PSS_BYTES: 1000,
            sb.RSS_BYTES: 2000,
        }
    }
    row, _ = workers_of(two_ready().state, rows)

    assert {
        "pool": "web",
        "fork_id": 0,
        "pid": 200,
        "generation": 1,
        "state": "ready",
        "requests": 12,
        "in_flight": 1,
        "connections": 4,
        "loop_lag_s": 0.0025,
        "beat_age_s": 1.0,
        "silent_s": None,
        "is_stopped": False,
        "route": "GET shop.Home",
        "pss_bytes": 1000,
        "rss_bytes": 2000,
        "cpu_s": 1.5,
        "uptime_s": 10.0,
        "restarts": 0,
        "last_end": None,
        "last_end_age_s": None,
        "recycled": 0,
        "last_recycle": None,
        "retry_in_s": None,
        "resources": [],
        "slow_steps": [],
    } == row


def test_figures_that_are_not_known_are_null() -> None:
    """A worker that has not taken its row yet counts nothing: null, never 0."""
    row, _ = workers_of(two_ready().state)
    unknown = WORKER_CONTRACT - {
        "pool",
        "fork_id",
        "pid",
        "generation",
        "state",
        "uptime_s",
        "restarts",
    }

    assert dict.fromkeys(unknown) == {key: row[key] for key in unknown}


def test_a_worker_that_has_begun_counts_from_zero() -> None:
    """Once the worker holds its row, 0 requests is a fact; lag and CPU wait for the first beat."""
    row, _ = workers_of(two_ready().state, {0: {sb.STARTED_NS: 1}})

    assert (0, 0, 0) == (row["requests"], row["in_flight"], row["connections"])
    assert (None, None, None) == (row["loop_lag_s"], row["beat_age_s"], row["cpu_s"])


def test_a_worker_whose_loop_does_not_run_says_for_how_long() -> None:
    """From its last beat on; null again when it runs."""
    seen = replay(serving())
    seen.then((110.0, ev.Looked((ev.Sample(0, 2.5, is_stopped=False, route=None),))))

    assert 52.5 == status_of(seen.state)["workers"][0]["silent_s"]

    seen.then((112.0, ev.Looked((ev.Sample(0, 0.1, is_stopped=False, route=None),))))

    assert None is status_of(seen.state)["workers"][0]["silent_s"]


def test_a_stopped_process_is_shown_as_such() -> None:
    """As in the log: its route is not to blame; no longer when it runs again."""
    seen = replay(serving())
    seen.then((110.0, ev.Looked((ev.Sample(0, 2.5, is_stopped=True, route=None),))))

    assert status_of(seen.state)["workers"][0]["is_stopped"] is True

    seen.then((112.0, ev.Looked((ev.Sample(0, 0.1, is_stopped=False, route=None),))))

    assert status_of(seen.state)["workers"][0]["is_stopped"] is False


def test_a_beat_from_the_future_has_no_negative_age() -> None:
    """A beat that comes between the clock's reading and the row's is 0 s old."""
    row, _ = workers_of(two_ready().state, {0: {sb.BEAT_NS: 161 * SECOND_NS}})

    assert 0.0 == row["beat_age_s"]


def test_a_route_without_a_name_is_null() -> None:
    """A number whose name is still on its way shows nothing rather than a number."""
    row, _ = workers_of(two_ready().state, {0: {sb.ROUTE_ID: 99}})

    assert row["route"] is None


def test_two_rows_while_a_worker_is_replaced() -> None:
    """The one that leaves and its successor stand together, the older first."""
    seen = two_ready().then((155.0, ev.WorkerDraining(0)), *started_worker(2, at_s=155.5))

    assert [(0, "draining", 200), (0, "ready", 202), (1, "ready", 201)] == [
        (row["fork_id"], row["state"], row["pid"]) for row in workers_of(seen.state)
    ]
    assert [1, 1, 0] == [row["restarts"] for row in workers_of(seen.state)]


def test_a_worker_that_is_not_announced_yet_has_its_pid_by_its_own_word() -> None:
    """It may be ready before; who reads its pid then wants to signal it."""
    seen = replay(serving()).then((151.0, ev.WorkerEnded(0, CRASHED, 0)))
    seen.then((160.0, ev.DeadlinePassed()), (160.0, ev.WorkerReady(0)))

    assert [("ready", 321)] == [
        (row["state"], row["pid"]) for row in workers_of(seen.state, {0: {sb.PID: 321}})
    ]
    assert [None] == [row["pid"] for row in workers_of(seen.state)]


def test_a_place_in_backoff_has_a_row_that_says_why() -> None:
    """A fork_id without a worker stays visible: backoff, and how its last worker ended."""
    seen = two_ready().then((151.0, ev.WorkerEnded(1, CRASHED, 0)))
    row = workers_of(seen.state)[1]

    assert (1, "backoff", None, "was ended by SIGSEGV", 1) == tuple(
        row[key] for key in ("fork_id", "state", "pid", "last_end", "restarts")
    )


def test_the_last_death_of_a_place_has_its_age() -> None:
    """Also when its successor is ready: who looks later wants to know when and why."""
    seen = two_ready().then((151.0, ev.WorkerEnded(1, KILLED, 0)), *started_worker(1, at_s=151.1))
    row = workers_of(seen.state)[1]

    assert ("ready", "was ended by SIGKILL", 9.0) == tuple(
        row[key] for key in ("state", "last_end", "last_end_age_s")
    )


def test_when_nobody_is_ready_the_status_says_so() -> None:
    """How many are ready of how many; the generation is the one that served last, not 0."""
    seen = two_ready()
    status = status_of(seen.state)

    assert (2, 2, 1) == tuple(
        status[key] for key in ("ready_workers", "desired_workers", "generation")
    )

    seen.then((151.0, ev.WorkerEnded(0, CRASHED, 0)), (151.0, ev.WorkerEnded(1, CRASHED, 0)))
    status = status_of(seen.state)

    assert (0, 2, 1) == tuple(
        status[key] for key in ("ready_workers", "desired_workers", "generation")
    )


def test_before_the_first_worker_is_ready_the_generation_is_0() -> None:
    """Nothing has served yet."""
    assert 0 == status_of(replay(loaded()).state)["generation"]


def test_the_generation_of_a_failed_reload_is_not_taken_for_one_that_serves() -> None:
    """Its canary was ready, but what serves next is the old code."""
    seen = two_ready().then(
        (151.0, ev.ReloadAsked("SIGHUP")),
        (151.0, ev.SettingsRead(LIMITS, None)),
        (151.1, ev.ZygoteLoaded(2, 0.1)),
        *started_worker(2, at_s=151.2),
        (151.3, ev.WorkerEnded(2, CRASHED, 0)),
        (151.4, ev.WorkerEnded(1, CRASHED, 0)),
        (151.5, ev.WorkerEnded(0, CRASHED, 0)),
    )

    assert 1 == status_of(seen.state)["generation"]


def test_workers_that_reached_a_limit_are_counted() -> None:
    """For each place and in the total, that a scale-down does not lessen."""
    seen = two_ready().then(
        (151.0, ev.WorkerWorn(1, "it is old")),
        *started_worker(2, at_s=151.1),
        (151.2, ev.WorkerEnded(1, LEFT, 0)),
    )
    status = status_of(seen.state)

    assert [(0, None), (1, "it is old")] == [
        (row["recycled"], row["last_recycle"]) for row in status["workers"]
    ]
    assert 1 == status["recycled_total"]
    assert 1 == status_of(seen.then((152.0, ev.ScaleAsked(1))).state)["recycled_total"]


def test_a_place_that_waits_for_a_zygote_is_in_backoff() -> None:
    """It says how its worker ended; when the next try is, if a try is planned; then it heals."""
    seen = two_ready().then(
        (151.0, ev.ZygoteEnded(1, KILLED)), (152.0, ev.WorkerEnded(1, KILLED, 0))
    )

    assert [
        (
            "warning worker fork_id=1 gen=1 pid=201: The worker was ended by SIGKILL; replacing it as "
            "soon as a zygote is ready."
        )
    ] == seen.said
    assert ("backoff", "was ended by SIGKILL", None) == waiting(seen)

    seen.then(
        (159.5, ev.ZygoteLoadFailed(2, "SyntaxError", "", usage=False)),
        (159.5, ev.ZygoteEnded(2, KILLED)),
    )

    assert ("backoff", "was ended by SIGKILL", 0.5) == waiting(seen)

    seen.then((160.5, ev.DeadlinePassed()), (160.6, ev.ZygoteLoaded(3, 0.1)))

    assert "starting" == workers_of(seen.state)[1]["state"]


def waiting(seen: Replay) -> tuple[Any, ...]:
    row = workers_of(seen.state)[1]
    return row["state"], row["last_end"], row["retry_in_s"]


def test_a_young_death_without_a_zygote_promises_nothing() -> None:
    """The pause may be over before there is a zygote."""
    seen = two_ready().then(
        (151.0, ev.ZygoteEnded(1, KILLED)), (152.0, ev.WorkerEnded(0, CRASHED, 0))
    )

    assert [
        (
            "error worker fork_id=0 gen=1 pid=200: The worker was ended by SIGSEGV, 1 young death in a "
            "row; next try in 1 s, or when a zygote is ready, if that is later."
        )
    ] == seen.said


def test_requests_are_never_lost_from_the_total() -> None:
    """The total counts living and ended workers, so it only grows."""
    rows: Rows = {
        0: {sb.STARTED_NS: 1, sb.REQUESTS: 5},
        1: {sb.STARTED_NS: 1, sb.REQUESTS: 7},
    }
    seen = two_ready()

    assert 12 == status_of(seen.state, rows)["requests_total"]

    seen.then((151.0, ev.WorkerEnded(0, KILLED, 5)))  # its successor takes row 0, zeroed
    rows[0] = {}

    assert 12 == status_of(seen.state, rows)["requests_total"]


def test_requests_of_places_that_were_scaled_away_stay_in_the_total() -> None:
    """A scale-down takes the row away, not what was served."""
    seen = two_ready().then((151.0, ev.ScaleAsked(1)), (152.0, ev.WorkerEnded(1, KILLED, 7)))

    assert 7 == status_of(seen.state)["requests_total"]
    assert [0] == [row["fork_id"] for row in workers_of(seen.state)]


def test_a_service_without_a_zygote_says_why() -> None:
    """Workers serve on without one, so nothing else would show it."""
    seen = two_ready().then(
        (151.0, ev.ZygoteEnded(1, KILLED)),
        (152.0, ev.ZygoteLoadFailed(2, "SyntaxError", "", usage=False)),
        (152.0, ev.ZygoteEnded(2, KILLED)),
    )
    status = status_of(seen.state)

    assert [] == status["zygotes"]
    assert "SyntaxError" == status["zygote_problem"]
    assert ["ready", "ready"] == [row["state"] for row in status["workers"]]


def test_a_stopping_service_says_so() -> None:
    """The phase is the state of the service."""
    assert "stopping" == status_of(two_ready().then((155.0, TERM)).state)["state"]
