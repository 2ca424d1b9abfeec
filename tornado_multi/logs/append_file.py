"""One log file that several processes append to and any of them may rotate. Nothing lost or doubled.

The rules, and why they are enough:

1. A record is one ``write`` to a descriptor with O_APPEND. The kernel holds the file's lock for the
   whole of it (local file systems), so records of several processes never mix.
2. Before each record the writer compares the file under the path with the one that it holds open,
   and opens the path anew if they differ. That is how it follows a rotation by a sibling, or by
   logrotate. The open descriptor keeps the number of the inode from being used again, so equal
   means the same file.
3. A rotation only renames. A writer that is between its look and its write when the file is renamed
   writes into the backup: the record is there, whole, in the file before the one it might be in.
4. Only a rotation deletes, and only the oldest backup (or somebody does by hand, or logrotate). A
   writer that was held up for so long that its file has become that one could write into a file
   that has no name any more. So after each write it looks at the count of links: 0 means that the
   record can be read nowhere, and it is written again, to the present file. It can't be there
   twice, because the first copy is in no file. If the file loses its name after that look, the
   record was in the oldest backup, and went as such records go.
5. Two processes that both find the file due take the flock in turn, or rather one takes it and the
   other, which does not wait, writes its record to the file as it is. Who has the lock looks again
   whether the path still leads to the file that was due; a second rotation right after the first
   finds another file there and does nothing.
6. A process that is killed while it rotates leaves the backups with a gap in their numbers, and no
   record lost: each step is one rename, from the oldest on. The lock goes with the process.
7. A write may be cut short: by a full disk, a limit of the file's size, a quota. What was written is
   then one stretch of the file, which ends where the descriptor stands. The writer covers it with
   blanks and a line end, which needs no space, and tries the whole record once more. Others may
   have appended meanwhile; they are not touched, and what they wrote begins on a line of its own.
   So a record is in the file whole or not at all, and readers skip blank lines.

8. A process that is killed in the middle of a write, or between the two of rule 7, leaves a part of
   its record with no line end. Who opens the file next ends that line first, and that is the
   successor of the killed worker; a sibling that has the file open already may append to the part.

A size limit may be passed by the records that siblings write at the same moment. What logrotate
does with ``copytruncate`` can lose records, as its manual says: let it rename.

Runs in: any process that logs. Callers hold the lock of their handler.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import weakref
from typing import TYPE_CHECKING

from tornado_multi.logs.rotation import last_rotation_s, local_offset_s, period_end_s, rotate

if TYPE_CHECKING:
    from tornado_multi.logs.rotation import Rotation

# Non-blocking: where somebody has put a FIFO, a process that reads slowly must stop nothing.
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
MOST_MOVES = 5
"""How often a record follows its file to a new one before it is written where it is."""
MOST_TRIES = 3
"""The write after a short one usually says why: no space left."""
NEVER_S = float("inf")

_opened: weakref.WeakSet[AppendFile] = weakref.WeakSet()


class AppendFile:
    """A path to append records to. Opened by the first record, in the process that writes it."""

    def __init__(self, path: str, rotation: Rotation) -> None:
        self.path = path
        self._rotation = rotation
        self._fd: int | None = None
        self._stat: os.stat_result | None = None
        self._due_s = NEVER_S
        """Wall clock: when the present period ends."""
        self.rotation_problem: OSError | None = None
        """Why the last rotation failed. Records are written all the same: better too many."""

    def write(self, record: bytes, now_s: float) -> None:
        """Append one record, which ends with a line end. Rotates first if that is due.

        Args: now_s: wall clock.
        Raises: OSError: the system refused; nothing of the record is in the file.
        """
        for _ in range(MOST_MOVES):
            self._follow(len(record), now_s)
            assert self._fd is not None
            _append(self._fd, record)
            if os.fstat(self._fd).st_nlink:
                return
            self.close()
        # Somebody deletes the file again and again while we write: as good as it gets.

    @property
    def fd(self) -> int | None:
        """What is open; None: nothing is."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back; the next record opens the path anew."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            _opened.discard(self)
            os.close(fd)

    def forget(self) -> None:
        """Give back what was opened before a fork, in the child. Never raises."""
        try:
            self.close()
        except OSError:  # the app has closed all descriptors: not ours to complain of
            return

    def _follow(self, record_bytes: int, now_s: float) -> None:
        """Hold the file open that is under the path, after a rotation if one is due."""
        found = self._look(now_s)
        rotation = self._rotation
        if not rotation.is_wanted():
            return
        is_full = 0 < rotation.max_bytes < found.st_size + record_bytes and found.st_size > 0
        if is_full or now_s >= self._due_s:
            try:
                rotate(self.path, found, rotation)
                self.rotation_problem = None
            except OSError as error:
                self.rotation_problem = error
            self._set_due(now_s)
            self._look(now_s)

    def _look(self, now_s: float) -> os.stat_result:
        """Open the path unless it leads to what is open already."""
        if self._fd is not None and self._stat is not None:
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                pass
            else:
                if found.st_ino == self._stat.st_ino and found.st_dev == self._stat.st_dev:
                    return found
            self.close()
        try:
            self._fd = os.open(self.path, FLAGS, 0o666)
        except FileNotFoundError:  # of a logger with a directory of its own, or it was removed
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._fd = os.open(self.path, FLAGS, 0o666)
        _opened.add(self)
        self._stat = os.fstat(self._fd)
        _end_last_line(self._fd, self._stat)
        self._set_due(now_s)
        return self._stat

    def _set_due(self, now_s: float) -> None:
        every_s = self._rotation.every_s
        if every_s is not None:
            try:
                # Of a clock that was set back: the period ends by the clock as it is now.
                begun_s = min(now_s, last_rotation_s(self.path))
            except OSError as error:
                self.rotation_problem = error
                return
            self._due_s = period_end_s(begun_s, every_s, local_offset_s(begun_s))


def _end_last_line(fd: int, status: os.stat_result) -> None:
    """End the line that a killed process has left unfinished.

    A record that is being written right now may look unfinished too: then the line end, which waits
    for that write, makes a blank line, which readers skip.
    Raises: OSError: the system refused to write.
    """
    if status.st_size == 0 or not stat.S_ISREG(status.st_mode):
        return
    try:
        reading_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a file that may be written and not read, or no /proc
        return
    try:
        last = os.pread(reading_fd, 1, status.st_size - 1)
    finally:
        os.close(reading_fd)
    if last not in {b"\n", b""}:
        os.write(fd, b"\n")


def _append(fd: int, record: bytes) -> None:
    """Write a record whole, or nothing of it that a reader would see.

    Raises: OSError: the system refused.
    """
    for _ in range(MOST_TRIES):
        written = os.write(fd, record)
        if written == len(record):
            return
        _cover(fd, written)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _cover(fd: int, written_bytes: int) -> None:
    """Make what a short write has left an empty line."""
    if written_bytes == 0:
        return
    end = os.lseek(fd, 0, os.SEEK_CUR)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    # On Linux pwrite appends where O_APPEND is set. The description is this process's alone.
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_APPEND)
    try:
        os.pwrite(fd, b" " * (written_bytes - 1) + b"\n", end - written_bytes)
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def opened_fds() -> set[int]:
    """Return the descriptors of log files that this process holds. A child gives them back."""
    return {file.fd for file in _opened if file.fd is not None}


def _forget_all() -> None:
    for file in list(_opened):
        file.forget()


os.register_at_fork(after_in_child=_forget_all)
