"""A thread that no Python started: Python doesn't count it, the kernel does."""

from __future__ import annotations

import ctypes
import os
import threading

LIBRARY = ctypes.CDLL(None)
SLEEP = ctypes.cast(LIBRARY.pause, ctypes.c_void_p)
LIBRARY.pthread_create(ctypes.byref(ctypes.c_ulong()), None, SLEEP, None)  # hazard: native-thread


def count() -> dict[str, int]:
    return {"python": threading.active_count(), "kernel": len(os.listdir("/proc/self/task"))}


def in_child(_index: int) -> dict[str, int]:
    return count()


def in_parent() -> dict[str, int]:
    return count()
