"""``status``: what the running service does, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from tornado_multi.settings.model import ControlSettings

MIB_BYTES = 1024 * 1024


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
        if row["last_end"] and row["state"] == "backoff":
            text = (
                f"worker {row['fork_id']}: {row['last_end']}; next try in {row['retry_in_s']:.0f} s"
            )
            console.print(text, soft_wrap=True)
        for resource in row["resources"] or []:
            if resource["healthy"] is False:
                text = (
                    f"worker {row['fork_id']}: the resource {resource['name']} is not well: "
                    f"{resource['health']}"
                )
                console.print(text, soft_wrap=True, markup=False)


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
