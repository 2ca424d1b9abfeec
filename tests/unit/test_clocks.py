"""No decision looks at the wall clock, so that nothing happens when somebody sets it."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "tornado_multi"
WALL = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("time", "ctime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
WRITES_DATES = {
    "cli/logs.py",  # since when records are asked for
    "logs/formats.py",  # the date of a record
    "logs/handler.py",  # rotation at a time of day
    "logs/rotation.py",  # as above
    "resources/lives.py",  # created_unix_s in the status
    "supervisor/own_log.py",  # rotation at a time of day
    "supervisor/report.py",  # the date of a line
}
"""Where people want a date."""


def wall_clocks(path: Path) -> list[str]:
    """Return the names of wall clocks that a module reads: as attributes, or imported by name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [(node.value.id, node.attr)]
        elif isinstance(node, ast.ImportFrom):
            names = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        found += [".".join(name) for name in names if name in WALL]
    return found


def test_the_wall_clock_is_read_for_dates_only() -> None:
    """Beats, deadlines, pauses, budgets and ages are monotonic: a clock that jumps moves none."""
    readers = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if wall_clocks(path)
    }

    assert WRITES_DATES == readers


def test_a_wall_clock_is_found(tmp_path: Path) -> None:
    """The search itself: by attribute and by name; the monotonic clock is none."""
    module = tmp_path / "module.py"
    module.write_text(
        "import time\nfrom time import time_ns\nfrom datetime import datetime\n"
        "a = time.time()\nb = time_ns()\nc = datetime.now()\nd = time.monotonic()\n"
    )

    assert ["datetime.now", "time.time", "time.time_ns"] == sorted(wall_clocks(module))
