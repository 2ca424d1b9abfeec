"""``status``: what the running service does, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.settings.model import ControlSettings

MIB_BYTES = 1024 * 1024
MOST_SLOW_STEPS = 3
"""Handlers that are named per worker, the slowest first."""


def status(settings: ControlSettings, *, as_json: bool) -> int:
    """Print the status. Returns the exit code."""
    try:
        connection = connect(settings)
        replies = list(connection.ask(Request("status")))
    except ControlError as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        return int(error.exit_code)
    connection.close()
    last: dict[str, Any] = (
        replies[-1] if replies else {"event": "error", "text": "The supervisor left."}
    )
    if last["event"] != "done":
        print(f"tornado-multi: {last.get('text', last)}", file=sys.stderr)
        return int(ExitCode.NO)
    if as_json:
        print(json.dumps(last["status"], indent=2, ensure_ascii=False))
    else:
        _print_table(last["status"])
    return int(ExitCode.DONE)


def _print_table(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width: give lines that cut and awk can rely on.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    addresses = " ".join(item["address"] for item in data["listeners"])
    limit_bytes = data["memory_limit_bytes"]
    limit = "" if limit_bytes is None else f"  memory limit {limit_bytes / MIB_BYTES:.0f} MiB"
    console.print(
        f"{data['name']}  {data['state']}  supervisor {data['pid']}  generation "
        f"{data['generation']}  up {_duration(data['uptime_s'])}  {addresses}{limit}",
        soft_wrap=True,
    )
    if data["zygote_problem"]:
        console.print(f"no new workers can be forked: {data['zygote_problem']}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in _COLUMNS:
        table.add_column(title, justify=justify, no_wrap=True)
    for row in data["workers"]:
        table.add_row(*_cells(row))
    console.print(table)
    for row in data["workers"]:
        for text in _troubles(row):
            console.print(f"worker {row['fork_id']}: {text}", soft_wrap=True, markup=False)


def _troubles(row: dict[str, Any]) -> Iterator[str]:
    """Yield what somebody should know of a worker beyond its figures."""
    if row["last_end"] and row["state"] == "backoff":
        yield f"{row['last_end']}; next try in {max(0.1, row['retry_in_s']):.2g} s"
    # A supervisor that was not restarted since an update may not know the newer keys.
    if row.get("silent_s") is not None:
        where = f" in {row['route']}" if row["route"] else ""
        yield f"its event loop has not run for {row['silent_s']:.1f} s{where}"
    steps = sorted(row.get("slow_steps") or [], key=lambda step: -step["longest_s"])
    for step in steps[:MOST_SLOW_STEPS]:
        times = "once" if step["count"] == 1 else f"{step['count']} times"
        yield f"{step['handler']} held up the event loop {times}, for {step['longest_s']:.2f} s at most"
    if steps[MOST_SLOW_STEPS:]:
        yield f"{len(steps) - MOST_SLOW_STEPS} more handlers held it up: status --json"
    for resource in row["resources"] or []:
        if resource["healthy"] is False:
            yield f"the resource {resource['name']} is not well: {resource['health']}"


_COLUMNS: list[tuple[str, Any]] = [
    ("fork_id", "right"),
    ("pid", "right"),
    ("gen", "right"),
    ("state", "left"),
    ("requests", "right"),
    ("in flight", "right"),
    ("conns", "right"),
    ("beat s", "right"),
    ("lag ms", "right"),
    ("PSS MiB", "right"),
    ("CPU s", "right"),
    ("up", "right"),
    ("restarts", "right"),
    ("route", "left"),
]


def _cells(row: dict[str, Any]) -> list[str]:
    def text(value: Any, form: str = "") -> str:
        return "-" if value is None else format(value, form)

    lag_s, pss_bytes = row["loop_lag_s"], row["pss_bytes"]
    return [
        text(row["fork_id"]),
        text(row["pid"]),
        text(row["generation"]),
        text(row["state"]),
        text(row["requests"]),
        text(row["in_flight"]),
        text(row["connections"]),
        text(row["beat_age_s"], ".1f"),
        text(None if lag_s is None else lag_s * 1000, ".1f"),
        text(None if pss_bytes is None else pss_bytes / MIB_BYTES, ".1f"),
        text(row["cpu_s"], ".2f"),
        "-" if row["uptime_s"] is None else _duration(row["uptime_s"]),
        text(row["restarts"]),
        text(row["route"]),
    ]


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m"
