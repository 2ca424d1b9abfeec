"""Reading the log files of a service, rotated ones included, once or on and on.

Runs in: the command ``logs``. Files may be rotated while they are read: a file is known by its inode
as long as it is held open.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from tornado_multi.logs.merge import Entry, Filters, Reader, fork_id_in_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"(?P<family>.+\.log)(?:\.(?P<number>\d+))?\Z")


def find_families(directory: str | None, file: str | None) -> dict[str, list[str]]:
    """Return the log files: path of the one that is written -> paths, the oldest first.

    Raises: OSError: the directory can't be read.
    """
    folder = directory if file is None else os.path.dirname(file)
    assert folder is not None
    found: dict[str, list[tuple[int, str]]] = {}
    for name in os.listdir(folder):
        if file is None:
            matched = _NAME.match(name)
            parts = None if matched is None else (matched["family"], matched["number"])
        else:
            head, dot, number = name.rpartition(".")
            parts = (name, None) if not number.isdecimal() else (head, number if dot else None)
            parts = parts if parts[0] == os.path.basename(file) else None
        if parts is not None:
            family = os.path.join(folder, parts[0])
            found.setdefault(family, []).append((int(parts[1] or 0), os.path.join(folder, name)))
    return {family: [path for _, path in sorted(paths)[::-1]] for family, paths in found.items()}


def read_all(
    families: dict[str, list[str]],
    filters: Filters,
    tail: int | None,
    ends: dict[tuple[int, int], int] | None = None,
) -> list[Entry]:
    """Return what is wanted of all files, in the order of time.

    Args:
        tail: how many at most, the youngest; None: all.
        ends: where to stop, as a ``Follower`` says it: what comes after is its affair.
    """
    found = [_read_family(paths, filters, tail, ends) for paths in families.values()]
    merged = heapq.merge(*found, key=lambda entry: entry.time_s)
    return list(merged if tail is None else deque(merged, maxlen=tail))


def _read_family(
    paths: list[str],
    filters: Filters,
    tail: int | None,
    ends: dict[tuple[int, int], int] | None,
) -> list[Entry]:
    """Return what is wanted of one file and its backups; reads no further back than it must."""
    wanted: list[Entry] = []
    seen: set[tuple[int, int]] = set()
    for path in reversed(paths):
        fd = _open_file(path)
        if fd is None:
            continue
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if key in seen:  # it was renamed while we looked
                continue
            seen.add(key)
            if filters.since_s is not None and status.st_mtime < filters.since_s:
                break  # nothing in it or in an older one is young enough
            reader = Reader(fork_id_in_name(os.path.basename(path)))
            lines = _lines(file, None if ends is None else ends.get(key, 0))
            found = (entry for entry in _both(reader, lines) if filters.accept(entry))
            wanted = (list(found) if tail is None else _youngest(found, tail)) + wanted
        if tail is not None and len(wanted) >= tail:
            break
    wanted.sort(key=lambda entry: entry.time_s)  # processes that share a file are not in step
    return wanted if tail is None else wanted[max(0, len(wanted) - tail) :]


def _youngest(entries: Iterable[Entry], count: int) -> list[Entry]:
    """Return the last *count* by time, without keeping the others: a file may have millions."""
    numbered = ((entry.time_s, number, entry) for number, entry in enumerate(entries))
    return [entry for _, _, entry in sorted(heapq.nlargest(count, numbered))]


def _open_file(path: str) -> int | None:
    """Open a log file; None: it was renamed meanwhile, or it is a directory, a FIFO or the like.

    Raises: OSError: it can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _lines(file: BinaryIO, end: int | None) -> Iterator[str]:
    at = 0
    for line in file:
        at += len(line)
        if end is not None and at > end:
            return
        yield line.decode("utf-8", "replace").rstrip("\n")


def _both(reader: Reader, lines: Iterable[str]) -> Iterator[Entry]:
    yield from reader.feed(lines)
    yield from reader.flush()


class _Open:
    """One file that is followed, by its descriptor."""

    def __init__(self, path: str, fd: int, number: int) -> None:
        self.fd = fd
        self.number = number
        self.reader = Reader(fork_id_in_name(os.path.basename(path)))
        self.rest = b""
        self.is_quiet = False
        """The last look has found nothing new in it."""

    def read(self) -> Iterator[Entry]:
        """Yield the records that are complete by now."""
        grown = False
        if os.fstat(self.fd).st_size < os.lseek(self.fd, 0, os.SEEK_CUR):
            yield from self.reader.flush()  # somebody has emptied it (copytruncate)
            self.rest = b""
            os.lseek(self.fd, 0, os.SEEK_SET)
        while chunk := os.read(self.fd, CHUNK_BYTES):
            grown = True
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            yield from self.reader.feed(line.decode("utf-8", "replace") for line in lines)
        if not grown and not self.rest:
            # A record of several lines may be seen half-written, but not for as long as a look.
            yield from self.reader.flush()
        self.is_quiet = not grown


class Follower:
    """Sees what is appended to the files of a service from now on, also to those that come."""

    def __init__(self, directory: str | None, file: str | None) -> None:
        """Stand at the end of the files that there are.

        Raises: OSError: the directory can't be read.
        """
        self._place = (directory, file)
        self._open: dict[tuple[int, int], _Open] = {}
        """(device, inode) -> file; held open, so that the inode's number is not used again"""
        self._opened = 0
        self._waiting: list[tuple[float, int, Entry]] = []
        """What was read and waits for what may be older: time, number of its file, record."""
        for item in self._open_new():
            os.lseek(item.fd, 0, os.SEEK_END)

    def ends(self) -> dict[tuple[int, int], int]:
        """Return how far each file was written when this began: (device, inode) -> bytes."""
        return {key: os.lseek(item.fd, 0, os.SEEK_CUR) for key, item in self._open.items()}

    def look(self, filters: Filters) -> list[Entry]:
        """Return what has come since the last look, in the order of time.

        Raises: OSError: the directory can't be read.
        """
        # Names first: what is rotated away meanwhile is held open already.
        self._open_new()
        for item in self._open.values():
            self._waiting += [
                (entry.time_s, item.number, entry) for entry in item.read() if filters.accept(entry)
            ]
        self._close_gone()
        # Of two records of one microsecond, the one in the older file is older.
        self._waiting.sort(key=lambda one: one[:2])
        kept = [item.reader.kept_s for item in self._open.values()]
        until_s = min((at_s for at_s in kept if at_s is not None), default=float("inf"))
        ready = [entry for at_s, _, entry in self._waiting if at_s < until_s]
        del self._waiting[: len(ready)]
        return ready

    def close(self) -> None:
        """Give all files back."""
        for item in self._open.values():
            os.close(item.fd)
        self._open.clear()

    def _open_new(self) -> list[_Open]:
        made = []
        for paths in find_families(*self._place).values():
            for path in paths:
                fd = _open_file(path)
                if fd is None:
                    continue  # renamed meanwhile: found under its new name at the next look
                status = os.fstat(fd)
                key = (status.st_dev, status.st_ino)
                if key in self._open:
                    os.close(fd)
                    continue
                self._opened += 1
                self._open[key] = _Open(path, fd, self._opened)
                made.append(self._open[key])
        return made

    def _close_gone(self) -> None:
        """Give back files that were deleted, once nothing more is in them."""
        for key, item in list(self._open.items()):
            if item.is_quiet and os.fstat(item.fd).st_nlink == 0:
                os.close(item.fd)
                del self._open[key]
