"""What the command says of a worker below the table."""

from __future__ import annotations

from typing import Any

from tornado_multi.cli.status import _troubles


def row(**fields: Any) -> dict[str, Any]:
    """A worker that is well, but for these."""
    well = {
        "fork_id": 0,
        "state": "ready",
        "last_end": None,
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
    """Also of one that has had another life, and of a place without a process."""
    rows = [row(), row(last_end="was ended by SIGKILL"), row(slow_steps=None, resources=None)]

    assert [] == [text for item in rows for text in _troubles(item)]


def test_a_supervisor_of_before_these_keys_is_understood() -> None:
    """The command may be newer than the service."""
    old = row()
    del old["silent_s"], old["slow_steps"]

    assert [] == [*_troubles(old)]


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


def test_a_resource_that_is_not_well_is_named() -> None:
    """One without a check, or well, is not."""
    resources = [
        {"name": "shop.db", "healthy": False, "health": "refused"},
        {"name": "shop.cache", "healthy": None, "health": None},
    ]

    assert ["the resource shop.db is not well: refused"] == [*_troubles(row(resources=resources))]
