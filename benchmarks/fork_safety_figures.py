"""Figures of fork safety: what the audit costs, and what loading the app before the fork saves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.process_figures import MIB_BYTES, RUNS, running

HERE = Path(__file__).parent
WORKERS = 4
REQUESTS = 40


def audit() -> list[Figure]:
    """The audit of an app with more than 75,000 objects, in a fresh process each time."""
    spans_ms = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-m", "tornado_multi", "check", "imports_app:make_app", "--json"],
            cwd=HERE, capture_output=True, text=True, check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout)
        spans_ms.append(answer["duration_s"] * 1000)
        objects = answer["objects"]
    note = f"{objects} objects"
    return [Figure("audit before the first fork", "ms", tuple(spans_ms), 50, note)]


def preloading() -> list[Figure]:
    """PSS of four workers with heavy imports after work: the app imported once, or by each."""
    sums_mib = {boot: _service_mib(boot) for boot in ("preload", "lazy")}
    saving = 100 * (1 - sums_mib["preload"] / sums_mib["lazy"])
    return [
        Figure("heavy app, 4 workers and zygote, --boot preload", "MiB", (sums_mib["preload"],)),
        Figure("heavy app, 4 workers and zygote, --boot lazy", "MiB", (sums_mib["lazy"],)),
        Figure("memory saved by preload", "%", (saving,), note="PSS after work"),
    ]


def _service_mib(boot: str) -> float:
    with running(
        "heavy_app:make_app", workers=WORKERS, chdir=HERE, options=["--boot", boot]
    ) as made:
        while min(row["requests"] for row in made.workers()) < REQUESTS:
            for _ in range(WORKERS):
                made.get("/")
        tree = psutil.Process(made.pid).children()
        return sum(process.memory_full_info().pss for process in tree) / MIB_BYTES
