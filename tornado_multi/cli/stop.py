"""``stop``: ask the supervisor to stop, wait until its process is gone."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from tornado_multi.settings.model import ControlSettings

AFTER_DONE_S = 5.0
"""What the supervisor has, after its last reply, to remove its files and leave."""


def stop(settings: ControlSettings, *, as_json: bool) -> int:
    """Stop the service and wait for its end. Returns the exit code."""
    begun_s = time.monotonic()
    try:
        connection = connect(settings)
        # Opened while it surely lives (it has just accepted us): it can't name another process.
        pidfd = os.pidfd_open(connection.pid)
    except ControlError as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        return int(error.exit_code)
    except ProcessLookupError:
        return int(ExitCode.DONE)
    code: int | None = None
    try:
        for reply in connection.ask(Request("stop"), timeout_s=None):
            match reply["event"]:
                case "stopping" if not as_json and sys.stderr.isatty():
                    limit_s = reply["limit_s"]
                    print(f"stopping (at most {limit_s:g} s) ...", file=sys.stderr)
                case "done":
                    code = reply["exit_code"]
                case "error":
                    print(f"tornado-multi: {reply['text']}", file=sys.stderr)
                    return int(ExitCode.NO)
        gone = connection.wait_gone(pidfd, AFTER_DONE_S)
    finally:
        os.close(pidfd)
        connection.close()
    duration_s = time.monotonic() - begun_s
    clean = gone and code == 0
    if as_json:
        record = {"pid": connection.pid, "gone": gone, "exit_code": code, "duration_s": duration_s}
        print(json.dumps(record))
    elif clean:
        print(f"stopped pid {connection.pid} in {duration_s:.1f} s")
    elif gone:
        print(f"pid {connection.pid} ended, not cleanly (exit code {code})", file=sys.stderr)
    else:
        print(f"pid {connection.pid} said it is done but has not ended", file=sys.stderr)
    return int(ExitCode.DONE if clean else ExitCode.NO)
