"""Do each row, and print one Markdown table of what became of the requests.

Progress goes to standard error. The exit code is 1 if a request failed in a row of tornado_multi,
but for what was inside a killed process.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from benchmarks.rolling.front import find_nginx
from benchmarks.rolling.outcome import Outcome, Run
from benchmarks.rolling.page import missed_promises, render_page, render_table
from benchmarks.rolling.rows import ROWS
from benchmarks.rolling.trying import try_out
from tornado_multi.process.linux import become_child_subreaper

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "rolling.md"


def conditions(nginx: str, runs: int) -> str:
    """Return one line on versions, machine and date.

    Args: nginx: the path of the program.
    """
    said = subprocess.run([nginx, "-v"], check=True, capture_output=True, text=True).stderr
    packages = ", ".join(f"{name} {version(name)}" for name in ("tornado-multi", "tornado"))
    linux = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    often = "one run" if runs == 1 else f"{runs} runs"
    return (
        f"nginx {said.strip().rpartition('/')[2]}, {packages}, Python {platform.python_version()}, "
        f"{cores} cores, Linux {linux}, {today}, {often} of each row"
    )


def main() -> int:
    """Do what was asked for. Returns 1 if a request failed where ours promises that none does."""
    options = _parse()
    nginx = find_nginx()
    if nginx is None:
        print("There is no nginx here; on Debian: apt-get install nginx.", file=sys.stderr)
        return 2
    rows = [row for row in ROWS if not options.row or row.key in options.row]
    # As Ctrl-C does it, so that the finally blocks end what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_child_subreaper()
    runs: dict[str, list[Run]] = {row.key: [] for row in rows}
    for _ in range(options.runs):
        for row in rows:
            begun_s = time.monotonic()
            runs[row.key].append(try_out(row))
            cells = "  ".join(Outcome(tuple(runs[row.key][-1:])).cells())
            took = f"{time.monotonic() - begun_s:4.1f} s"
            print(f"{row.key:3} {took}  {cells}", file=sys.stderr, flush=True)
    outcomes = {key: Outcome(tuple(found)) for key, found in runs.items()}
    line = conditions(nginx, options.runs)
    print(f"{line}\n")
    print(render_table(rows, outcomes), end="")
    if options.write:
        PAGE.write_text(render_page(rows, outcomes, line), encoding="utf-8")
    missed = missed_promises(rows, outcomes)
    if missed:
        print(f"\nRequests failed under tornado_multi in {', '.join(missed)}.", file=sys.stderr)
    return int(bool(missed))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rolling", description=__doc__)
    parser.add_argument(
        "--row", action="append", choices=[row.key for row in ROWS], help="only this one, or these"
    )
    parser.add_argument("--runs", type=int, default=1, help="so many runs of each row")
    parser.add_argument("--write", action="store_true", help=f"write the page {PAGE.name}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
