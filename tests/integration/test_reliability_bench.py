"""The comparison of reliability does what it says, with the two systems that need no installation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.processes import all_processes

from benchmarks.reliability import running
from benchmarks.reliability.scenarios import SCENARIOS
from benchmarks.reliability.systems import OURS, SYSTEMS
from benchmarks.reliability.trying import try_out
from tornado_multi.process.linux import become_child_subreaper

if TYPE_CHECKING:
    from benchmarks.reliability.outcome import Outcome

pytestmark = pytest.mark.process
BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}
BY_NAME = {system.name: system for system in SYSTEMS}


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sessions of all services that the test has started."""
    seen: list[int] = []
    begin = running.Service.__init__

    def remember(service: running.Service, *arguments: object, **options: object) -> None:
        begin(service, *arguments, **options)  # type: ignore[arg-type]
        seen.append(service.pid)

    monkeypatch.setattr(running.Service, "__init__", remember)
    become_child_subreaper()
    return seen


def tried(scenario: str, system: str, sessions: list[int]) -> Outcome:
    outcome = try_out(BY_KEY[scenario], BY_NAME[system], sys.executable)

    assert len(sessions) == 1
    left = [item for item in all_processes() if item.session_id in sessions]
    assert [] == left
    return outcome


@pytest.mark.parametrize("system", [OURS, "fork_processes"])
def test_one_killed_worker_is_replaced(system: str, sessions: list[int]) -> None:
    """Both replace a worker that was killed, no client of its sibling fails, and nothing is left."""
    outcome = tried("S14", system, sessions)

    assert outcome.passed, outcome.cell()
    assert outcome.requests is not None
    assert outcome.requests > 0
    assert outcome.time_s is not None


def test_survivors_are_counted_and_ended(sessions: list[int]) -> None:
    """Workers of a killed parent live on under fork_processes; they are seen, and ended by pid."""
    outcome = tried("S5", "fork_processes", sessions)

    assert (False, 2) == (outcome.passed, outcome.survivors), outcome.cell()


def test_ours_leaves_no_survivor(sessions: list[int]) -> None:
    """The same scenario ends with nothing to end under tornado_multi."""
    outcome = tried("S5", OURS, sessions)

    assert (True, 0) == (outcome.passed, outcome.survivors), outcome.cell()


def test_what_goes_wrong_on_the_way_is_an_outcome(
    sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that does not start fails its scenario, with the reason, and stops nothing else."""
    monkeypatch.setattr(running, "APPS", running.APPS.parent)
    outcome = tried("S14", "fork_processes", sessions)

    assert outcome.passed is False
    assert "ended with 2" in outcome.cell()


def test_a_scenario_that_does_not_apply_starts_nothing(sessions: list[int]) -> None:
    """Without a reload there is no scenario of reloads, and the cell says so."""
    outcome = try_out(BY_KEY["S1"], BY_NAME["fork_processes"], sys.executable)

    assert outcome.passed is None
    assert "no reload" in outcome.cell()
    assert [] == sessions
