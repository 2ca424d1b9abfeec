"""When a log file is due for rotation, and how its backups move. Runs in: any process that logs.

``shop.0.log`` becomes ``shop.0.log.1``, that ``shop.0.log.2``, up to the number of backups. The flock
on ``shop.0.log.lock`` makes one process at a time do it; the file's time of change says when the
last rotation was. What makes this safe beside writers stands in ``append_file``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_SUFFIX = ".lock"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to rotate, and how much to keep. Zero and None: never."""

    max_bytes: int = 0
    """A record that would make the file longer goes into a new one."""
    every_s: int | None = None
    """Length of a period; periods begin at local midnight and multiples of this after it."""
    backups: int = 10
    """Files kept beside the one that is written, at least 1."""

    def is_wanted(self) -> bool:
        return self.max_bytes > 0 or self.every_s is not None


def period_end_s(begun_s: float, every_s: int, offset_s: int) -> float:
    """Return when the period ends in which *begun_s* lies. Wall clock.

    Args: offset_s: of local time from UTC, so that a period of a day ends at local midnight.
    """
    return ((begun_s + offset_s) // every_s + 1) * every_s - offset_s


def local_offset_s(at_s: float) -> int:
    """Return how many seconds local time is ahead of UTC at a moment."""
    return time.localtime(at_s).tm_gmtoff


def moves(path: str, backups: int, exists: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Return the renames of one rotation in their order; the last one is that of the file itself.

    A rotation that was killed half-way leaves a gap in the numbers: only what stands before the gap
    moves, so that nothing is overwritten that could stay. Without a gap, the oldest is overwritten.
    """
    numbered = [path, *(f"{path}.{number}" for number in range(1, backups + 1))]
    free = next((at for at in range(1, backups) if not exists(numbered[at])), backups)
    return [(numbered[at], numbered[at + 1]) for at in range(free - 1, -1, -1)]


@contextlib.contextmanager
def try_lock(path: str) -> Iterator[int | None]:
    """Hold the lock beside a log file; None: another process holds it, and rotates.

    Nobody waits: a process that was stopped while it rotates must not stop the others from logging.
    The kernel gives the lock back when the process ends, however it ends.
    Raises: OSError: the lock file can't be opened.
    """
    fd = os.open(path + LOCK_SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield fd
    finally:
        os.close(fd)


def last_rotation_s(path: str) -> float:
    """Return when the file was last rotated, wall clock; making the lock file counts as that.

    A file from before there was a lock file counts as begun when it was last written.
    Raises: OSError: the lock file can't be made.
    """
    lock_path = path + LOCK_SUFFIX
    try:
        return os.stat(lock_path).st_mtime
    except FileNotFoundError:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with contextlib.suppress(OSError):
                written = os.stat(path)
                if written.st_size:
                    os.utime(fd, (written.st_mtime, written.st_mtime))
            return os.fstat(fd).st_mtime
        finally:
            os.close(fd)


def rotate(path: str, seen: os.stat_result, rotation: Rotation) -> None:
    """Move the file that *seen* describes away, unless somebody has done so already.

    Raises: OSError: the system refused; the file may still be where it was.
    """
    with try_lock(path) as lock_fd:
        if lock_fd is None:
            return
        try:
            now = os.stat(path)
        except FileNotFoundError:
            return
        if not os.path.samestat(now, seen):
            return
        os.utime(lock_fd)
        if now.st_size:
            for old, new in moves(path, rotation.backups, os.path.exists):
                with contextlib.suppress(FileNotFoundError):  # somebody tidies up by hand
                    os.rename(old, new)
