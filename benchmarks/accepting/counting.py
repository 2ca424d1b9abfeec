"""The app that is served, and what its workers count into a file that all of them map.

Imported by the zygote of ours and by the peers before they fork. Runs in: worker, but for the import.
"""

from __future__ import annotations

import functools
import mmap
import os
import socket
import struct
from typing import Any

import tornado.process
from tornado.web import Application, RequestHandler

MOST_WORKERS = 32
ROW = struct.Struct("=qqq")
"""pid, calls of accept(), calls that found nothing."""
SIZE_BYTES = MOST_WORKERS * ROW.size
VARIABLE = "ACCEPTING_COUNTS"


def map_counts(path: str) -> mmap.mmap:
    """Map the file with one row per fork_id."""
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), SIZE_BYTES)


def count_accepts(path: str) -> None:
    """From now on each accept() of this process is counted in the row of its fork_id."""
    counts = map_counts(path)
    offset = (tornado.process.task_id() or 0) * ROW.size
    real = socket.socket.accept
    row = [os.getpid(), 0, 0]
    ROW.pack_into(counts, offset, *row)

    @functools.wraps(real)
    def accept(sock: socket.socket) -> tuple[socket.socket, Any]:
        row[1] += 1
        try:
            return real(sock)
        except BlockingIOError:
            row[2] += 1
            raise
        finally:
            ROW.pack_into(counts, offset, *row)

    socket.socket.accept = accept  # type: ignore[method-assign]


class Who(RequestHandler):
    """Says which worker answers."""

    def get(self) -> None:
        self.write(str(tornado.process.task_id() or 0))


def make_app() -> Application:
    """Build the app in a worker."""
    count_accepts(os.environ[VARIABLE])
    return Application([("/", Who)])
