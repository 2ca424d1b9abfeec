"""Run the scenarios against the systems, and print one Markdown table.

Progress goes to standard error. The exit code is 1 if a request failed under tornado_multi in a
scenario in which nothing is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from benchmarks.reliability import death_drivers, reload_drivers
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.outcome import Outcome, does_not_apply
from benchmarks.reliability.page import missed_promises, render_page, render_table, titles_of
from benchmarks.reliability.scenarios import SCENARIOS, Scenario
from benchmarks.reliability.systems import SYSTEMS, System
from tornado_multi.process.linux import become_child_subreaper

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS_PYTHON = REPOSITORY / ".venv-peers" / "bin" / "python"
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

VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def try_out(scenario: Scenario, system: System, python: str) -> Outcome:
    """Run one scenario against one system; whatever goes wrong on the way is its outcome."""
    reason = system.why_not(scenario.needs)
    if reason is not None:
        return does_not_apply(reason)
    try:
        return DRIVERS[scenario.key](Bench(system, python))
    except AssertionError as error:
        return Outcome(False, notes=(str(error).splitlines()[0][:100],))


def versions_of(system: System, python: str) -> dict[str, str]:
    """Return the versions of a system's packages, read in its own environment."""
    found = subprocess.run(
        [python, "-c", VERSIONS, *system.packages], check=True, capture_output=True, text=True
    )
    return dict(json.loads(found.stdout))


def conditions() -> str:
    """Return one line on interpreter and machine."""
    linux = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return f"Python {platform.python_version()}, {cores} cores, Linux {linux}"


def main() -> int:
    """Run what was asked for. Returns 1 if a request failed where ours promises that none does."""
    options = _parse()
    systems = [s for s in SYSTEMS if options.system in {None, s.name}]
    scenarios = [s for s in SCENARIOS if options.scenario in {None, s.key}]
    pythons = {s.name: options.peers if s.is_peer else sys.executable for s in systems}
    if any(s.is_peer for s in systems) and not Path(options.peers).exists():
        print(f"There is no {options.peers}: run make bench-reliability once.", file=sys.stderr)
        return 2
    # As Ctrl-C does it, so that the finally blocks end what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_child_subreaper()
    titles = titles_of({s.name: versions_of(s, pythons[s.name]) for s in systems})
    results = {}
    for scenario in scenarios:
        for system in systems:
            begun_s = time.monotonic()
            outcome = try_out(scenario, system, pythons[system.name])
            results[scenario.key, system.name] = outcome
            head = f"{scenario.key:4} {system.name:15} {time.monotonic() - begun_s:5.1f} s"
            print(f"{head}  {outcome.cell()}", file=sys.stderr, flush=True)
    print(f"{conditions()}\n")
    print(render_table(scenarios, systems, results, titles), end="")
    if options.page is not None:
        page = render_page(scenarios, systems, results, titles, conditions())
        options.page.write_text(page, encoding="utf-8")
    missed = missed_promises(scenarios, results)
    if missed:
        print(f"\nRequests failed under tornado_multi in {', '.join(missed)}.", file=sys.stderr)
    return int(bool(missed))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--system", choices=[s.name for s in SYSTEMS], help="only this one")
    parser.add_argument("--scenario", choices=[s.key for s in SCENARIOS], help="only this one")
    parser.add_argument(
        "--peers", default=str(PEERS_PYTHON), help="interpreter with the others installed"
    )
    parser.add_argument("--page", type=Path, help="page of the docs to write")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
