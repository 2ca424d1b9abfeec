"""Has every hook; each records its call, and misbehaves as the file HOOK_FAULTS says just then.

HOOK_RECORD names the file of the records, one JSON object per line. HOOK_FAULTS names a file with
lines ``hook fault``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from hello import make_app as make_hello
from tornado.web import Application


def record(hook: str, *arguments: Any) -> None:
    """Write down who calls which hook with what."""
    try:
        loop: str | None = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        loop = None
    line = json.dumps(
        {
            "hook": hook,
            "pid": os.getpid(),
            "parent_pid": os.getppid(),
            "loop": loop,
            "is_main_thread": threading.current_thread() is threading.main_thread(),
            "arguments": arguments,
        }
    )
    with Path(os.environ["HOOK_RECORD"]).open("a") as file:
        file.write(line + "\n")


def misbehave(hook: str) -> None:  # noqa: C901 - one case per fault
    """Do what the test asks of this hook."""
    faults = dict(line.split() for line in Path(os.environ["HOOK_FAULTS"]).read_text().splitlines())
    match faults.get(hook):
        case "raises":
            raise LookupError("no such thing")
        case "hangs":
            time.sleep(600)
        case "stubborn":
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(600)
        case "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(600)
        case "exits":
            os._exit(9)
        case "leaves":
            raise SystemExit(4)
        case "prints":
            print("printed by a hook")
        case "leaves_thread":
            threading.Thread(target=threading.Event().wait, daemon=True, name="stray").start()
        case "forks":
            for _ in range(3):
                if os.fork() == 0:
                    os._exit(5)


def on_starting() -> None:
    record("on_starting")
    misbehave("on_starting")


def before_fork(fork_id: int) -> None:
    record("before_fork", fork_id)
    misbehave("before_fork")


def after_fork(fork_id: int) -> None:
    record("after_fork", fork_id)
    misbehave("after_fork")


def on_ready() -> None:
    record("on_ready")
    misbehave("on_ready")


def on_drain() -> None:
    record("on_drain")
    misbehave("on_drain")


def on_worker_exit(report: dict[str, Any]) -> None:
    record("on_worker_exit", report)
    misbehave("on_worker_exit")


def on_reload(report: dict[str, Any]) -> None:
    record("on_reload", report)
    misbehave("on_reload")


def make_app() -> Application:
    return make_hello()
