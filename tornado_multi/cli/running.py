"""The commands that change a running service: ``reload``, ``scale``, ``restart``; and ``stacks``.

Each blocks until it is done, with a line of progress on a terminal or JSON lines with ``--json``.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.settings.model import ControlSettings

    Progress = Callable[[dict[str, Any]], str]


MOST_FINDINGS = 10
"""Of a reload; whoever has more reads them elsewhere."""


def reload(settings: ControlSettings, *, as_json: bool, wait_drain: bool) -> int:
    """Reload and report. Returns the exit code."""
    request = Request("reload", {"wait_drain": wait_drain})
    last, code = _converse(settings, request, _reload_progress, as_json=as_json)
    if last is None:
        return code
    report = last["report"]
    if not as_json:
        _print_report(report)
        if report["succeeded"] and report["fork_safety"] not in {None, "clean"}:
            _print_findings(settings)
    return int(ExitCode.DONE if report["succeeded"] else ExitCode.NO)


def scale(settings: ControlSettings, workers: int, *, as_json: bool) -> int:
    """Change the number of workers. Returns the exit code."""
    request = Request("scale", {"workers": workers})
    last, code = _converse(settings, request, _settling_progress, as_json=as_json)
    if last is not None and not as_json:
        print(f"{last['workers']} workers")
        if closed := last.get("closed"):
            print(
                f"closed: {' '.join(closed)}\n"
                "A proxy that still knows them has to learn of it now: tornado-multi nginx --live"
            )
    return code


def restart(settings: ControlSettings, fork_id: int, *, as_json: bool) -> int:
    """Replace one worker. Returns the exit code."""
    request = Request("restart", {"fork_id": fork_id})
    last, code = _converse(settings, request, _settling_progress, as_json=as_json)
    if last is not None and not as_json:
        print(f"worker {fork_id} was replaced")
    return code


def stacks(settings: ControlSettings, fork_id: int | None, *, as_json: bool) -> int:
    """Print the stacks of one worker or of all. Returns the exit code."""
    request = Request("stacks", {"fork_id": fork_id})
    last, code = _converse(settings, request, lambda _: "", as_json=as_json)
    if last is None or as_json:
        return code
    for worker in last["stacks"]:
        print(f"worker {worker['fork_id']}  pid {worker['pid']}  gen {worker['generation']}")
        print(worker["threads"].rstrip() or "(its threads did not answer)")
        tasks = worker["tasks"]
        print(
            "(the interpreter's lock is not free: tasks and other threads unknown)"
            if tasks is None
            else tasks.rstrip()
        )
        print()
    return code


def _converse(
    settings: ControlSettings, request: Request, progress: Progress, *, as_json: bool
) -> tuple[dict[str, Any] | None, int]:
    """Ask, show progress, return the last reply (None if it was an error) and the exit code."""
    show = sys.stderr.isatty() and not as_json
    try:
        connection = connect(settings)
        for reply in connection.ask(request, timeout_s=None):
            if as_json:
                print(json.dumps(reply, ensure_ascii=False), flush=True)
            match reply["event"]:
                case "done":
                    _show(show=show, text="")
                    return reply, int(ExitCode.DONE)
                case "error":
                    _show(show=show, text="")
                    print(f"tornado-multi: {reply['text']}", file=sys.stderr)
                    return None, int(ExitCode.NO)
                case _:
                    _show(show=show, text=progress(reply))
    except ControlError as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        return None, int(error.exit_code)
    print("tornado-multi: The supervisor ended before it answered.", file=sys.stderr)
    return None, int(ExitCode.NO)


def _show(*, show: bool, text: str) -> None:
    """Write the one line of progress over the last one."""
    if show:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _reload_progress(reply: dict[str, Any]) -> str:
    if reply["event"] == "queued":
        return f"waiting for reload {reply['behind']} ..."
    text = f"{reply['step']} ..."
    if reply["generation"] is not None:
        text = f"generation {reply['generation']}  {text}"
    if reply["ready"]:
        text += f"  {len(reply['ready'])} of {reply['of']} ready"
    if reply["draining"]:
        text += f"  {reply['draining']} draining"
    return text


def _settling_progress(reply: dict[str, Any]) -> str:
    return f"{len(reply['starting'])} starting, {len(reply['draining'])} draining ..."


def _print_findings(settings: ControlSettings) -> None:
    """Say where the findings of the audit are, which the report only counts."""
    try:
        connection = connect(settings)
        replies = list(connection.ask(Request("status")))
    except ControlError:
        return  # it has just been stopped: the reload itself was told
    connection.close()
    if replies and replies[-1]["event"] == "done":
        status = replies[-1]["status"]
        for line in list_findings(status["app"], status["fork_safety"]):
            print(line)


def list_findings(app: str, audit: dict[str, Any] | None) -> list[str]:
    """Return a line for each error and warning, the worst first, and where to read more. Pure.

    Args: app: as it was given. audit: ``fork_safety`` of the status; None: there was none.
    """
    from tornado_multi.forksafety.findings import headline

    serious = [item for item in (audit or {"findings": []})["findings"] if item["word"] != "info"]
    if audit is None or not serious:
        return []
    lines = [f"  {headline(item, audit['directory'])}" for item in serious[:MOST_FINDINGS]]
    more = len(serious) - MOST_FINDINGS
    if more > 0:
        lines.append(f"  and {more} more")
    # The options of the service may matter, and are not known here: a script has no app to check.
    where = "tornado-multi status --json"
    if ":" in app:
        where = f"tornado-multi check {app}"
    return [*lines, f"  {where} says what each of them does, and the mend."]


def _print_report(report: dict[str, Any]) -> None:
    for note in report["notes"]:
        print(f"note: {note}")
    if not report["succeeded"]:
        print(f"reload failed: {report['reason']}", file=sys.stderr)
        if report["detail"]:
            print(report["detail"], file=sys.stderr)
        print(f"generation {report['generation']} serves on.", file=sys.stderr)
        return
    parts = [f"generation {report['generation']}"]
    if report["import_s"] is not None:
        parts.append(f"import {report['import_s']:.2f} s")
    if report["fork_safety"] is not None:
        parts.append(f"audit {report['fork_safety']}")
    if report["canary_s"] is not None:
        parts.append(f"canary ready {report['canary_s']:.2f} s")
    parts.append(f"{report['drained']} drained, {report['cut']} requests cut")
    parts.append(f"done in {report['duration_s']:.1f} s")
    print("  ".join(parts))
