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
from benchmarks.reliability.page import missed_promises, render_page, render_table, titles_of
from benchmarks.reliability.scenarios import SCENARIOS
from benchmarks.reliability.systems import SYSTEMS, System
from benchmarks.reliability.trying import try_out
from tornado_multi.process.linux import become_child_subreaper

REPOSITORY = Path(__file__).resolve().parents[2]
COMPARED_PYTHON = REPOSITORY / ".venv-compared" / "bin" / "python"
VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


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
    peers = os.path.abspath(options.peers)  # As typed: what its link points to has no packages.
    systems = [s for s in SYSTEMS if options.system in {None, s.name}]
    scenarios = [s for s in SCENARIOS if options.scenario in {None, s.key}]
    pythons = {s.name: peers if s.is_peer else sys.executable for s in systems}
    if any(s.is_peer for s in systems) and not os.path.exists(peers):
        print(f"There is no {peers}: run make bench-reliability once.", file=sys.stderr)
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
        "--peers", default=str(COMPARED_PYTHON), help="interpreter with the others installed"
    )
    parser.add_argument("--page", type=Path, help="page of the docs to write")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
