"""Forked processes wait in the fork itself, before anything of ours runs, while WAIT_WHILE exists.

WAIT_IN says in which: "1" is the intermediate process, "2" the worker. Each leaves a file named by
its pid beside WAIT_WHILE. The handler of TERM, if it ever ran, would leave a file "handled".
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from hello import make_app

__all__ = ["make_app"]

depth = 0


def wait() -> None:
    """Run by Python in each forked process: the intermediate is the first, the worker the second."""
    global depth
    depth += 1
    gate = Path(os.environ["WAIT_WHILE"])
    if depth == int(os.environ["WAIT_IN"]) and gate.exists():
        (gate.parent / f"{os.getpid()}.waits").touch()
        while gate.exists():
            time.sleep(0.005)


def handle(_number: int, _frame: object) -> None:
    (Path(os.environ["WAIT_WHILE"]).parent / "handled").touch()


signal.signal(signal.SIGTERM, handle)
os.register_at_fork(after_in_child=wait)
