"""The comparison of reliability, as far as it is data and words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks.reliability.clients import Failure, others
from benchmarks.reliability.outcome import Outcome, does_not_apply
from benchmarks.reliability.page import (
    better_elsewhere,
    missed_promises,
    render_page,
    render_table,
    titles_of,
)
from benchmarks.reliability.scenarios import SCENARIOS, Need
from benchmarks.reliability.systems import OURS, SYSTEMS, Wish
from benchmarks.reliability.trying import DRIVERS

BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}
BY_NAME = {system.name: system for system in SYSTEMS}
TWO = [BY_NAME[OURS], BY_NAME["gunicorn"]]
GOOD = Outcome(True, Counter(), 500)


def failing(count: int, **more: Any) -> Outcome:
    return Outcome(False, Counter(reset=count), 500, **more)


def test_every_scenario_has_a_driver() -> None:
    """What the page describes is done, and nothing else."""
    assert [scenario.key for scenario in SCENARIOS] == list(DRIVERS)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_a_command_line_says_what_is_wished(system: Any) -> None:
    """Address and number of workers are said in every command line, and a limit where there is one."""
    wish = Wish(18080, "/run/x", workers=4, worker_timeout_s=3, max_requests=5)
    arguments = " ".join(system.arguments(wish))

    assert "18080" in arguments
    assert "4" in arguments.split()
    assert Need.MAX_REQUESTS in system.lacks or "max-requests 5" in arguments


def test_a_plain_wish_gives_no_option() -> None:
    """Default options are the defaults: nothing but where to listen, and how many workers."""
    plain = {system.name: system.arguments(Wish(1, "/run/x", is_plain=True)) for system in SYSTEMS}
    options = {word for words in plain.values() for word in words if word.startswith("--")}

    assert options <= {
        *("--bind", "--workers", "--host", "--port", "--control", "--control-socket"),
        *("--interface", "--no-access-log"),
    }


@pytest.mark.parametrize(
    ("outcome", "cell"),
    [
        (GOOD, "passes: 0 of 500 failed"),
        (failing(3), "**fails**: 3 of 500 failed (3 reset)"),
        (does_not_apply("no reload"), "-: no reload"),
        (
            Outcome(True, Counter(empty=2), 90, unexcused=0),
            "passes: 2 of 90 failed (2 empty); 0 of others' clients",
        ),
        (Outcome(True, time_s=0.123), "passes: whole again after 0.12 s"),
        (
            Outcome(False, survivors=1, time_s=4, time_name="gone after", notes=("port taken",)),
            "**fails**: 1 survivor; gone after 4.00 s; port taken",
        ),
    ],
)
def test_a_cell_says_verdict_figures_and_notes(outcome: Outcome, cell: str) -> None:
    """The words of a cell follow from the outcome alone."""
    assert cell == outcome.cell()


def test_the_table_has_a_row_per_scenario_and_a_column_per_system() -> None:
    """What was not run is an empty cell, so that the columns stay where they are."""
    results = {("S1", "gunicorn"): failing(3)}
    table = render_table([BY_KEY["S1"]], TWO, results, {OURS: "ours 1", "gunicorn": "gunicorn 27"})

    assert [
        "| scenario | ours 1 | gunicorn 27 |",
        "| - | - | - |",
        "| S1 reload in a loop |  | **fails**: 3 of 500 failed (3 reset) |",
    ] == table.splitlines()


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (GOOD, GOOD, None),
        (GOOD, failing(3), None),
        (failing(3), failing(1), None),
        (failing(3), GOOD, "passes, and tornado_multi does not"),
        (does_not_apply("not yet"), GOOD, "passes, and tornado_multi has no such thing yet"),
        (GOOD, does_not_apply("no reload"), None),
        (
            Outcome(True, Counter(empty=4)),
            Outcome(True, Counter(empty=1)),
            "fails 1 requests and tornado_multi 4",
        ),
        (
            Outcome(True, time_s=6.0),
            Outcome(True, time_s=0.5),
            "is faster: whole again after 0.50 s, tornado_multi 6.00 s",
        ),
        (
            Outcome(True, Counter(empty=9), unexcused=0),
            Outcome(True, Counter(empty=1), unexcused=0),
            None,
        ),
        (Outcome(True, time_s=0.03), Outcome(True, time_s=0.01), None),
    ],
)
def test_what_another_does_better_is_said(ours: Outcome, theirs: Outcome, said: str | None) -> None:
    """Another is better if it passes and ours does not, fails fewer requests, or is much faster."""
    results = {("S4", OURS): ours, ("S4", "gunicorn"): theirs}
    lines = better_elsewhere([BY_KEY["S4"]], TWO, results)

    wanted = f"- S4, {BY_KEY['S4'].title}: gunicorn {said}." if said else "In this run, nowhere."
    assert [wanted] == lines


def test_a_failed_request_in_a_graceful_scenario_is_a_broken_promise() -> None:
    """Requests may fail under ours where something is killed, and nowhere else."""
    results = {
        ("S1", OURS): failing(1),
        ("S2a", OURS): GOOD,
        ("S4", OURS): failing(9),
        ("S13", "gunicorn"): failing(10),
    }

    assert ["S1"] == missed_promises(SCENARIOS, results)


def test_the_end_of_a_worker_excuses_its_own_clients_only() -> None:
    """A refusal, or a failure of a connection to a worker that lives, has no excuse."""
    failures = [
        Failure("empty", 7),
        Failure("reset", 8),
        Failure("empty", None),
        Failure("refused", None),
        Failure("refused", 7),
    ]

    assert Counter(reset=1, refused=2) == others(failures, killed={7})


def test_the_page_names_versions_scenarios_and_options() -> None:
    """A reader finds on the page what was run, and how."""
    versions = {system.name: {system.packages[0]: "1.2.3"} for system in SYSTEMS}
    page = render_page(SCENARIOS, SYSTEMS, {("S1", OURS): GOOD}, titles_of(versions), "Python 3")

    assert all(f"| {system.name} (" in page for system in SYSTEMS)
    assert all(scenario.passes_when in page for scenario in SCENARIOS)
    assert "respawn-failed-workers" in page
