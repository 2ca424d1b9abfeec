"""What a worker is doing: its threads' stacks on a signal, its tasks' stacks on request.

The threads' stacks are written by faulthandler from within the signal handler, so they come also
when the loop is blocked in C; into a memory file that the supervisor holds too. Runs in: worker.
"""

from __future__ import annotations

import faulthandler
import io
import os
from typing import TYPE_CHECKING

from tornado_multi.process.linux import STACKS_SIGNAL

if TYPE_CHECKING:
    import asyncio


def open_stacks_file() -> int:
    """Create the memory file and register the signal. Returns the fd; keep it open."""
    fd = os.memfd_create("tornado_multi stacks")
    faulthandler.register(STACKS_SIGNAL, file=fd, all_threads=True)
    return fd


def render_tasks(tasks: set[asyncio.Task[object]]) -> str:
    """Return the stacks of *tasks*, by name."""
    text = io.StringIO()
    for task in sorted(tasks, key=lambda item: item.get_name()):
        task.print_stack(file=text)
    return text.getvalue()
