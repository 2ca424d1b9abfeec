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
RECENT_S = 600.0
"""A death is told for so long below the table."""


def status(settings: ControlSettings, *, as_json: bool, check: bool = False) -> int:
    """Print the status. Returns the exit code.

    Args: check: exit with 1 if no worker can answer.
    """
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
    if check and not any(_answers(row) for row in last["status"]["workers"]):
        print("tornado-multi: No worker is ready.", file=sys.stderr)
        return int(ExitCode.NO)
    return int(ExitCode.DONE)


def _answers(row: dict[str, Any]) -> bool:
    """Tell whether a worker is ready, and its event loop runs."""
    return row["state"] == "ready" and row.get("silent_s") is None


def _print_table(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width: give lines that cut and awk can rely on.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    own = {item.get("fork_id"): item["address"] for item in data["listeners"]}
    shared = [item["address"] for item in data["listeners"] if item.get("fork_id") is None]
    has_own = bool(own.keys() - {None})
    addresses = " ".join(shared)
    limit_bytes = data["memory_limit_bytes"]
    limit = "" if limit_bytes is None else f"  memory limit {limit_bytes / MIB_BYTES:.0f} MiB"
    console.print(
        f"{data['name']}  {data['state']}{_missing(data)}  supervisor {data['pid']}  generation "
        f"{data['generation']}  up {_duration(data['uptime_s'])}"
        f"{'  ' if addresses else ''}{addresses}{limit}",
        soft_wrap=True,
    )
    if data["zygote_problem"]:
        console.print(f"no new workers can be forked: {data['zygote_problem']}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in _COLUMNS:
        table.add_column(title, justify=justify, no_wrap=True)
    if has_own:
        table.add_column("address", no_wrap=True)
    for row in data["workers"]:
        table.add_row(*_cells(row), *([own.get(row["fork_id"], "-")] if has_own else []))
    console.print(table)
    for row in data["workers"]:
        for text in _troubles(row):
            console.print(f"worker {row['fork_id']}: {text}", soft_wrap=True, markup=False)


def _missing(data: dict[str, Any]) -> str:
    """Return how many workers are ready, if a service that serves has fewer than it should."""
    ready, desired = data.get("ready_workers"), data.get("desired_workers")
    if data["state"] != "serving" or ready is None or desired is None or ready >= desired:
        return ""
    return f"  {ready} of {desired} ready"


def _troubles(row: dict[str, Any]) -> Iterator[str]:
    """Yield what somebody should know of a worker beyond its figures."""
    # A supervisor that was not restarted since an update may not know the newer keys.
    yield from _past(row)
    if row.get("silent_s") is not None:
        where = f" in {row['route']}" if row["route"] else ""
        if row.get("is_stopped"):
            yield f"its process is stopped, for {row['silent_s']:.1f} s (SIGSTOP, or a debugger)"
        else:
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


def _past(row: dict[str, Any]) -> Iterator[str]:
    """Yield what became of the workers that had this place before."""
    age_s = row.get("last_end_age_s")
    if row["state"] == "draining":
        return  # it is said beside its successor
    if row["state"] == "backoff":
        why = f"{row['last_end']}; " if row["last_end"] else ""
        retry_s = row["retry_in_s"]
        when = "waits for a zygote" if retry_s is None else f"next try in {max(0.1, retry_s):.2g} s"
        yield f"{why}{when}"
    elif row["state"] == "stopped":
        if row["last_end"]:
            yield row["last_end"]
    elif row["last_end"] and age_s is not None and age_s < RECENT_S:
        yield f"last died {_duration(age_s)} ago: {row['last_end']}"
    if row.get("recycled"):
        times = "once" if row["recycled"] == 1 else f"{row['recycled']} times"
        yield f"replaced {times} for a limit, the last time because {row['last_recycle']}"


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
