"""The program behind ``check``: loads the app as a zygote does, audits, and says what it found.

Started as ``python -m tornado_multi.check_process FD``: reads one JSON object from the descriptor
(a socket) and writes one. A process of its own, so that what the command itself has open is no
finding, and an app that ends or hangs at import can be told. Runs in: the process of a check.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado_multi.forksafety.audit import Audit
    from tornado_multi.forksafety.findings import Report


def main() -> None:
    """Answer the one request on the descriptor given."""
    from tornado_multi.forksafety.recorder import Recorder
    from tornado_multi.logs.plan import LogPlan
    from tornado_multi.logs.setup import begin_logs
    from tornado_multi.process.identity import set_served
    from tornado_multi.resources.creation import creating

    set_served()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    with sock.makefile("rb") as stream:
        request = json.loads(stream.readline())
    gc.disable()  # as a zygote does
    recorder = Recorder(request["app"].partition(":")[0].partition(".")[0], creating)
    recorder.start()
    begin_logs(LogPlan(writes_files=False))  # a look at an app leaves nothing in its log files
    answer = _answer(request, recorder, sock.fileno())
    try:
        sock.sendall(json.dumps(answer).encode() + b"\n")
        for output in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
                output.flush()
    finally:
        os._exit(0)  # what the app has registered for its end belongs to a service


def _answer(request: dict[str, Any], recorder: Any, own_fd: int) -> dict[str, Any]:
    from tornado_multi.forksafety.audit import Audit
    from tornado_multi.forksafety.findings import to_plain
    from tornado_multi.forksafety.suppression import parse_allowance
    from tornado_multi.forksafety.trace import Trace
    from tornado_multi.loading import LoadError, enter_directory, load_target

    arguments = request["app_arguments"]
    trace = Trace(recorder) if request["trace"] else None
    try:
        enter_directory(request["directory"])
        if trace is not None:
            trace.start()
        target = load_target(
            request["app"], None if arguments is None else tuple(arguments), request["directory"]
        )
    except LoadError as error:
        return {"reason": error.reason, "detail": error.detail, "usage": error.usage}
    finally:
        if trace is not None:
            trace.stop()
    allowances = [parse_allowance(text) for text in request["allow"]]
    report = Audit(recorder, {own_fd}, allowances, request["quarantine"]).run()
    answer: dict[str, Any] = {
        "findings": [to_plain(finding) for finding in report.findings],
        "notes": list(report.notes),
        "duration_s": report.duration_s,
        "objects": len(gc.get_objects()),
    }
    if request["factory"]:
        answer |= _try_factory(request["app"], target, Audit(recorder, {own_fd}), report)
    return answer


def _try_factory(app: str, target: Any, audit: Audit, before: Report) -> dict[str, Any]:
    """Build the app as a worker does, and say what that has opened.

    In this process: it ends anyway, and what it has made so far is known.
    """
    from tornado_multi.forksafety.findings import to_plain
    from tornado_multi.process.tracebacks import app_traceback, first_line
    from tornado_multi.worker.app import build

    async def make() -> None:
        await build(target, app)

    try:
        asyncio.run(make())
    except BaseException as error:  # noqa: BLE001 - all that a factory may raise
        text = f"Building {app} failed: {first_line(error)}"
        return {"factory_failure": text, "factory_detail": app_traceback(error)}
    known = {(finding.kind, finding.what) for finding in before.findings}
    made = [item for item in audit.run().findings if (item.kind, item.what) not in known]
    return {"factory": [to_plain(finding) for finding in made]}


if __name__ == "__main__":
    main()
