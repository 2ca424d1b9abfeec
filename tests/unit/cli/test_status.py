"""What the command says of a worker below the table."""

from __future__ import annotations

from typing import Any

import pytest

from tornado_multi.cli.status import _answers, _missing, _troubles


def row(**fields: Any) -> dict[str, Any]:
    """A worker that is well, but for these."""
    well = {
        "fork_id": 0,
        "state": "ready",
        "last_end": None,
        "last_end_age_s": None,
        "recycled": 0,
        "last_recycle": None,
        "is_stopped": False,
        "retry_in_s": None,
        "silent_s": None,
        "route": None,
        "slow_steps": [],
        "resources": [],
    }
    return well | fields


def step(handler: str, count: int, longest_s: float) -> dict[str, Any]:
    return {"handler": handler, "count": count, "longest_s": longest_s}


def test_of_a_worker_that_is_well_nothing_is_said() -> None:
    """Also of one that has had another life long ago, and of a place without a process."""
    rows = [
        row(),
        row(last_end="was ended by SIGKILL", last_end_age_s=700.0),
        row(slow_steps=None, resources=None),
    ]

    assert [] == [text for item in rows for text in _troubles(item)]


def test_a_supervisor_of_before_these_keys_is_understood() -> None:
    """The command may be newer than the service."""
    old = row()
    for key in ("silent_s", "slow_steps", "last_end_age_s", "recycled", "is_stopped"):
        del old[key]

    assert [] == [*_troubles(old)]
    assert "" == _missing({"state": "serving"})


def test_workers_that_are_missing_are_counted_while_the_service_serves() -> None:
    """Not when all are there, nor while it boots or stops."""
    counts = {"ready_workers": 1, "desired_workers": 2}

    assert "  1 of 2 ready" == _missing({"state": "serving"} | counts)
    assert "" == _missing({"state": "booting"} | counts)
    assert "" == _missing({"state": "stopping"} | counts)
    assert "" == _missing({"state": "serving"} | counts | {"ready_workers": 2})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"state": "starting"}, False),
        ({"state": "draining"}, False),
        ({"state": "backoff"}, False),
        ({"silent_s": 3.0}, False),
    ],
)
def test_a_worker_answers_if_it_is_ready_and_its_loop_runs(
    fields: dict[str, Any],
    expected: bool,  # noqa: FBT001
) -> None:
    """That is what --check asks for, of one worker at least."""
    assert expected == _answers(row(**fields))


def test_a_recent_death_is_told_once() -> None:
    """Also when the place is served again; beside the successor if the old worker still drains."""
    dead = {"last_end": "was ended by SIGKILL", "last_end_age_s": 72.4}
    lines = [*_troubles(row(**dead)), *_troubles(row(state="draining", **dead))]

    assert ["last died 1m12s ago: was ended by SIGKILL"] == lines


def test_regular_replacements_are_told() -> None:
    """How often, and for which limit."""
    reason = "it has answered 2 requests (max_requests)"

    assert [
        f"replaced once for a limit, the last time because {reason}",
        f"replaced 67 times for a limit, the last time because {reason}",
    ] == [
        *_troubles(row(recycled=1, last_recycle=reason)),
        *_troubles(row(recycled=67, last_recycle=reason)),
    ]


def test_a_stopped_process_is_said_to_be_stopped() -> None:
    """Not that its loop does not run, as if some code were to blame."""
    assert ["its process is stopped, for 4.4 s (SIGSTOP, or a debugger)"] == [
        *_troubles(row(silent_s=4.4, is_stopped=True, route="GET shop.Search"))
    ]


def test_a_silent_loop_is_said_with_its_route() -> None:
    """What it is doing stands beside how long."""
    assert [
        "its event loop has not run for 4.2 s in GET shop.Search",
        "its event loop has not run for 4.2 s",
    ] == [
        *_troubles(row(silent_s=4.2, route="GET shop.Search")),
        *_troubles(row(silent_s=4.2)),
    ]


def test_the_three_slowest_handlers_are_named() -> None:
    """The slowest first; how many more there are is said."""
    steps = [
        step("GET shop.A", 1, 0.2),
        step("GET shop.B", 3, 5.0),
        step("GET shop.C", 7, 0.3),
        step("GET shop.D", 1, 0.1),
        step("GET shop.E", 1, 0.1),
    ]

    assert [
        "GET shop.B held up the event loop 3 times, for 5.00 s at most",
        "GET shop.C held up the event loop 7 times, for 0.30 s at most",
        "GET shop.A held up the event loop once, for 0.20 s at most",
        "2 more handlers held it up: status --json",
    ] == [*_troubles(row(slow_steps=steps))]


def test_a_place_that_waits_says_why_and_how_long() -> None:
    """And nothing of a process that it has not."""
    waiting = row(
        state="backoff",
        last_end="exited with code 1",
        retry_in_s=4.4,
        slow_steps=None,
        resources=None,
    )

    assert ["exited with code 1; next try in 4.4 s"] == [*_troubles(waiting)]
    assert ["exited with code 1; waits for a zygote"] == [
        *_troubles(waiting | {"retry_in_s": None})
    ]
    assert ["waits for a zygote"] == [*_troubles(waiting | {"retry_in_s": None, "last_end": None})]


def test_a_resource_that_is_not_well_is_named() -> None:
    """One without a check, or well, is not."""
    resources = [
        {"name": "shop.db", "healthy": False, "health": "refused"},
        {"name": "shop.cache", "healthy": None, "health": None},
    ]

    assert ["the resource shop.db is not well: refused"] == [*_troubles(row(resources=resources))]
