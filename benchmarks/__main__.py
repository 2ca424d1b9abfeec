"""Run benchmarks and print a table; the bars are those that the project promises.

Usage: python -m benchmarks [NAME ...]
"""

from __future__ import annotations

import compileall
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import tornado_multi
from benchmarks import (
    dubbo_figures,
    fork_safety_figures,
    log_figures,
    process_figures,
    resource_figures,
)
from benchmarks.figures import Figure, as_table

BENCHMARKS = {
    "replacement": process_figures.replacement_after_kill,
    "orphans": process_figures.tree_gone_after_supervisor_kill,
    "balance": process_figures.keep_alive_balance,
    "idle": process_figures.idle_supervisor,
    "start": process_figures.start_up,
    "many": process_figures.two_hundred_workers,
    "request": process_figures.cpu_per_request,
    "reload": process_figures.reloads_under_load,
    "logs": log_figures.cost_per_record,
    "audit": fork_safety_figures.audit,
    "preloading": fork_safety_figures.preloading,
    "resources": resource_figures.accessors,
    "dubbo": dubbo_figures.cpu_per_call,
}


def main() -> int:
    """Run what was asked for. Returns 1 if a bar was missed."""
    asked = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in asked if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}.")
        return 2
    linux = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    packages = " ".join(
        f"{name} {version(name)}" for name in ("tornado-multi", "tornado", "uvloop")
    )
    print(f"Python {platform.python_version()}, {packages}, {cores} cores, Linux {linux}\n")
    _compile()
    figures: list[Figure] = []
    for name in asked:
        print(f"measuring {name} ...", file=sys.stderr)
        figures += BENCHMARKS[name]()
    print(as_table(figures))
    return int(any(figure.missed for figure in figures))


def _compile() -> None:
    """Compile the package, as pip does with what it installs.

    An editable installation has no bytecode yet, and never gets any under PYTHONDONTWRITEBYTECODE:
    each process would compile everything anew, which nobody's service does.
    """
    compileall.compile_dir(str(Path(tornado_multi.__file__).parent), quiet=2)


if __name__ == "__main__":
    sys.exit(main())
