"""Threads of an executor, a timer and a queue listener, started before the fork, are not there."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

EXECUTOR = ThreadPoolExecutor(1, "pool")
EXECUTOR.submit(int).result()  # hazard: executor
TIMER = threading.Timer(3600, print)
TIMER.daemon = True
TIMER.start()  # hazard: thread
LISTENER = logging.handlers.QueueListener(queue.Queue(), logging.NullHandler())
LISTENER.start()  # hazard: thread


def alive() -> dict[str, object]:
    """Tell what still works. A job that nobody can take would be awaited for ever."""
    job = EXECUTOR.submit(int)
    if len(os.listdir("/proc/self/task")) > 1:
        job.result(20)
    return {
        "job done": job.done(),
        "timer": TIMER.is_alive(),
        "listener": LISTENER._thread.is_alive(),
    }


def in_child(_index: int) -> dict[str, object]:
    return alive()


def in_parent() -> dict[str, object]:
    return alive()
