"""Which driver does which scenario, and how one is tried out. Runs in: the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.reliability import death_drivers, reload_drivers
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.outcome import Outcome, does_not_apply

if TYPE_CHECKING:
    from benchmarks.reliability.scenarios import Scenario
    from benchmarks.reliability.systems import System

DRIVERS = {
    "S1": reload_drivers.reload_in_a_loop,
    "S2a": reload_drivers.stop_with_a_request,
    "S2b": reload_drivers.reload_with_a_request,
    "S3": reload_drivers.reload_of_bad_code,
    "S4": death_drivers.kill_workers,
    "S5": death_drivers.kill_supervisor,
    "S6": death_drivers.suspend_supervisor,
    "S7": death_drivers.block_the_loop,
    "S8": death_drivers.die_when_ready,
    "S10": death_drivers.leave_a_stranger,
    "S13": reload_drivers.reload_with_websockets,
    "S14": death_drivers.kill_one_worker,
    "S16": reload_drivers.max_requests,
}
"""By the key of the scenario."""


def try_out(scenario: Scenario, system: System, python: str) -> Outcome:
    """Run one scenario against one system; whatever goes wrong on the way is its outcome."""
    reason = system.why_not(scenario.needs)
    if reason is not None:
        return does_not_apply(reason)
    try:
        return DRIVERS[scenario.key](Bench(system, python))
    except AssertionError as error:
        return Outcome(False, notes=(str(error).splitlines()[0][:100],))
