"""What the apps of all systems have in common: faults that are switched on by a file, and marks.

The directory of a run stands in RELIABILITY_DIR. A file ``raises_at_import`` or ``dies_when_ready``
in it is a fault; ``started`` has a line for every worker that has loaded its app, and ``begun`` one
for every slow request.
Runs in: the processes of every system, with nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time

DIES_AFTER_S = 0.2
"""Long enough for every system to call the worker ready, short enough to be a crash loop."""

ORPHAN = "(sleep 0.3; exit 3) &"
"""The shell leaves at once, so that what exits with 3 belongs to whoever adopts orphans."""


def at_import() -> None:
    """Raise if bad code has been deployed."""
    if os.path.exists(_path("raises_at_import")):
        raise RuntimeError("bad code was deployed")


def at_worker_start() -> None:
    """Leave a mark; die soon if that is the fault. Runs in: a worker, which is about to serve."""
    mark("started", f"{os.getpid()} {time.monotonic()}")
    if os.path.exists(_path("dies_when_ready")):
        timer = threading.Timer(DIES_AFTER_S, os._exit, (1,))
        timer.daemon = True
        timer.start()


def leave_an_orphan() -> None:
    """Make a process whose parent is gone and which exits with 3."""
    subprocess.run(["sh", "-c", ORPHAN], check=True, stdin=subprocess.DEVNULL)


def block(seconds: float) -> None:
    """Block the event loop: what a dump must name is the next line."""
    time.sleep(seconds)


def mark(name: str, line: str) -> None:
    """Append one line; a single write in append mode, so that workers do not mix theirs."""
    fd = os.open(_path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def _path(name: str) -> str:
    return os.path.join(os.environ["RELIABILITY_DIR"], name)
