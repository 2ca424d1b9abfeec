"""What a worker is doing: its threads' stacks on a signal, its tasks' stacks on request.

The threads' stacks are written by faulthandler from within the signal handler, so they come also
when the loop is blocked in C; into a memory file that the supervisor holds too. Runs in: worker.
"""

from __future__ import annotations

import faulthandler
import os
import traceback
from typing import TYPE_CHECKING

from tornado_multi.process.linux import STACKS_SIGNAL
from tornado_multi.worker.tornado_private import driven_by

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from types import FrameType

MOST_FRAMES = 200


def open_stacks_file() -> int:
    """Create the memory file and register the signal. Returns the fd; keep it open."""
    fd = os.memfd_create("tornado_multi stacks")
    faulthandler.register(STACKS_SIGNAL, file=fd, all_threads=True)
    if not faulthandler.is_enabled():  # else the app has said where it wants to have them
        faulthandler.enable(file=fd, all_threads=True)  # at SEGV, ABRT and their like
    return fd


def render_tasks(tasks: set[asyncio.Task[object]], running: FrameType | None = None) -> str:
    """Return the stacks of *tasks*, by name, each down to what it waits for, or is doing.

    ``Task.print_stack`` shows the outermost coroutine only, which for a handler is Tornado's.
    Args: running: the innermost frame of the loop's thread; the task that runs just now is followed
        into it. None: it is not known.
    """
    parts = []
    for task in sorted(tasks, key=lambda item: item.get_name()):
        parts.append(f"task {task.get_name()!r} (outermost call first):\n")
        frames = [*_frames(task.get_coro())]
        frames += _frames_within(frames[-1][0], running) if frames else []
        parts += traceback.format_list(traceback.StackSummary.extract(iter(frames)))
    return "".join(parts)


def _frames(awaited: object) -> Iterator[tuple[FrameType, int]]:
    """Follow a coroutine to what it awaits, and that to what it awaits."""
    for _ in range(MOST_FRAMES):
        for kind in ("cr", "gi", "ag"):  # coroutine, generator, asynchronous generator
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
                name = "gi_yieldfrom" if kind == "gi" else f"{kind}_await"
                awaited = driven_by(frame) or getattr(awaited, name, None)
                break
        else:
            return


def _frames_within(frame: FrameType, running: FrameType | None) -> list[tuple[FrameType, int]]:
    """Return the calls that *frame* is in the middle of: empty unless its thread runs it now."""
    found = []
    inner = running
    while inner is not None and inner is not frame:
        found.append((inner, inner.f_lineno))
        inner = inner.f_back
    return [] if inner is None else found[: -MOST_FRAMES - 1 : -1]
