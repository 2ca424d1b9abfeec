"""What a worker is doing: its main thread's stack on a signal, the rest of it on request.

The main thread's stack is written by faulthandler from within the signal handler, so it comes also
when the loop is blocked in C; into a memory file that the supervisor holds too. Of other threads
faulthandler would walk the frames while they run on and free them, which ends the process (of a
worker with four busy threads at the sixth signal); theirs need the interpreter's lock, as the
tasks' do. Runs in: worker.
"""

from __future__ import annotations

import faulthandler
import itertools
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from tornado_multi.process.linux import STACKS_SIGNAL
from tornado_multi.worker.tornado_private import driven_by

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from types import FrameType

MOST_FRAMES = 200
MOST_NAMES = 4
"""Of threads at the same place."""


def open_stacks_file() -> int:
    """Create the memory file and register the signal. Returns the fd; keep it open."""
    fd = os.memfd_create("tornado_multi stacks")
    faulthandler.register(STACKS_SIGNAL, file=fd, all_threads=False)
    if not faulthandler.is_enabled():  # else the app has said where it wants to have them
        # At SEGV, ABRT and their like: the process ends anyway, and another thread may be the cause.
        faulthandler.enable(file=fd, all_threads=True)
    return fd


def render_other_threads(ours: int) -> str:
    """Return the stacks of all threads but the main one, as faulthandler would write them.

    Threads at the same place, such as those of an idle pool, are shown once.
    Args: ours: the thread that is left out besides. Holds the interpreter's lock: call it beside
        the loop's thread only.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    left_out = {ours, threading.main_thread().ident}
    at_place: dict[str, list[str]] = {}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - public by its documentation
        if ident not in left_out:
            name = repr(names[ident]) if ident in names else f"0x{ident:016x}"
            at_place.setdefault(_render_frames(frame), []).append(name)
    return "\n".join(
        f"{_name_threads(sorted(names))} (most recent call first):\n{frames}"
        for frames, names in at_place.items()
    )


def _name_threads(names: list[str]) -> str:
    if len(names) == 1:
        return f"Thread {names[0]}"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)} threads, {', '.join(names[:MOST_NAMES])}{more}"


def _render_frames(innermost: FrameType) -> str:
    frames = itertools.islice(traceback.walk_stack(innermost), MOST_FRAMES)
    return "".join(
        f'  File "{frame.f_code.co_filename}", line {line} in {frame.f_code.co_name}\n'
        for frame, line in frames
    )


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
