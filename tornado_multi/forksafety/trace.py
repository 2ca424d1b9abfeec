"""Which line of the app has made what a C library opens: looked for after each line, on request.

A local trace function in the app's frames only: a few system calls per line tell whether a
descriptor or a thread has come. It stands in the way of debuggers and coverage, and costs time with
each line, so that only ``check --trace`` uses it.
Runs in: the process of a check, main thread.
"""

from __future__ import annotations

import os
import posix
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.findings import Site
from tornado_multi.forksafety.recorder import identity_of

if TYPE_CHECKING:
    from types import FrameType

    from tornado_multi.forksafety.recorder import Recorder

Line = tuple[str, int]


class Trace:
    """Watches the app's lines, and gives the recorder what it could not see."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._last: Line | None = None
        self._fds = _numbers("/proc/self/fd")
        self._taken = _taken()
        self._threads = _numbers("/proc/self/task")

    def start(self) -> None:
        sys.settrace(self._enter)

    def stop(self) -> None:
        sys.settrace(None)
        self._look()

    def _enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if self._recorder.places.kind(frame.f_code.co_filename) != "app":
            return None
        return self._step

    def _step(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """See what the line before has done; this one is the next to be judged."""
        threads = os.stat("/proc/self/task").st_nlink - 2
        if _taken() != self._taken or threads != len(self._threads):
            self._look()
        self._last = (frame.f_code.co_filename, frame.f_lineno)
        return self._step

    def _look(self) -> None:
        fds, threads = _numbers("/proc/self/fd"), _numbers("/proc/self/task")
        if self._last is not None:
            site = Site(os.path.abspath(self._last[0]), self._last[1])
            for fd in fds - self._fds:
                identity = identity_of(fd)
                noted = self._recorder.fds.get(fd)
                if identity is not None and (noted is None or noted[0] != identity):
                    self._recorder.fds[fd] = (identity, site)
                    self._recorder.traced_fds.add(fd)
            for number in threads - self._threads:
                library, known = self._recorder.native_threads.get(number, ("", None))
                self._recorder.native_threads[number] = (library, known or site)
        self._fds, self._threads, self._taken = fds, threads, _taken()


def _taken() -> tuple[int, int]:
    """Return what changes with each descriptor: the lowest free number, and how many there are."""
    fd = posix.dup(2)  # past the recorder's stand-in
    os.close(fd)
    return fd, len(os.listdir("/proc/self/fd"))


def _numbers(directory: str) -> set[int]:
    return {int(name) for name in os.listdir(directory)}
