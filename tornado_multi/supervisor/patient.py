"""A text stream that never makes the supervisor wait for its reader. Runs in: supervisor.

A pipe whose reader has stopped reading blocks whoever writes to it. Making it non-blocking is no
way out: the flag belongs to the open file description, which the app's processes share. So a thread
writes, from a queue of bounded length; what doesn't fit is dropped and counted.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from typing import Protocol

MOST_WAITING = 10_000
CLOSE_WAIT_S = 1.0


class Writable(Protocol):
    """What a ``PatientStream`` writes to: a text stream or the like."""

    def write(self, text: str, /) -> object:
        """Write *text*, however long that takes."""

    def flush(self) -> object:
        """Let nothing wait."""


class PatientStream:
    """Takes whole texts; a thread of its own writes them in order."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._wake = threading.Condition()
        self._dropped = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue *text*. Blocks: never."""
        with self._wake:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
                return len(text)
            if self._dropped:
                self._waiting.append(f"... {self._dropped} lines were dropped here ...\n")
                self._dropped = 0
            self._waiting.append(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="log writer", daemon=True)
                _start_without_signals(self._thread)
            self._wake.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes each text."""

    def close(self) -> None:
        """Give the thread a moment to write what is left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_WAIT_S)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                text = self._waiting.popleft()
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                continue  # there is no better place to complain than the one that just failed


def _start_without_signals(thread: threading.Thread) -> None:
    """Start a thread that no signal of the process goes to: they are the main thread's affair."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
