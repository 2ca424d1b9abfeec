"""Threads that a fork would leave behind: Python's, and those of libraries beneath it.

Runs in: zygote.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

SURVIVORS = {"numpy": "OpenBLAS", "scipy": "OpenBLAS", "mkl": "MKL"}
"""module -> library whose threads are started anew in a forked process (pthread_atfork)"""


@dataclass(frozen=True)
class NativeThread:
    """A thread that Python does not know."""

    native_id: int
    name: str
    """As the kernel has it; often the program's."""


def python_threads() -> list[threading.Thread]:
    """Return the threads beside the main one, which is the one that forks."""
    return [item for item in threading.enumerate() if item is not threading.main_thread()]


def native_threads() -> list[NativeThread]:
    """Return the threads that no Python thread object stands for."""
    known = {item.native_id for item in threading.enumerate()}
    known.add(threading.get_native_id())
    found = []
    for name in os.listdir("/proc/self/task"):
        number = int(name)
        if number in known:
            continue
        with contextlib.suppress(OSError):  # it has just ended
            found.append(NativeThread(number, _name_of(name)))
    return found


def _name_of(task: str) -> str:
    with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def frame_of(thread: threading.Thread) -> FrameType | None:
    """Return where a thread is."""
    return sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way
