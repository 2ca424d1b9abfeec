"""Appending beside others who append, rename and delete."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.forks import in_child

from tornado_multi.logs import append_file
from tornado_multi.logs.append_file import AppendFile
from tornado_multi.logs.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW_S = 1_000_000.0
NEVER = Rotation()


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Callable[..., AppendFile]]:
    """Make files that are closed at the end of the test."""
    made: list[AppendFile] = []

    def make(rotation: Rotation = NEVER, path: str = "") -> AppendFile:
        made.append(AppendFile(path or str(tmp_path / "x.log"), rotation))
        return made[-1]

    yield make
    for file in made:
        file.close()


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_nothing_is_opened_before_the_first_record(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """A handler that is made before a fork holds nothing that the fork could share."""
    file = open_file()

    assert [] == names(tmp_path)

    file.write(b"one\n", NOW_S)

    assert b"one\n" == (tmp_path / "x.log").read_bytes()


def test_a_file_that_was_renamed_is_left_at_the_next_record(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """logrotate, or a sibling, needs to tell nobody."""
    file = open_file()
    file.write(b"one\n", NOW_S)
    os.rename(file.path, f"{file.path}.1")
    file.write(b"two\n", NOW_S)

    assert b"one\n" == (tmp_path / "x.log.1").read_bytes()
    assert b"two\n" == (tmp_path / "x.log").read_bytes()


def test_a_record_for_a_deleted_file_is_written_again(
    open_file: Callable[..., AppendFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is held up between look and write, until his file was deleted, loses nothing."""
    file = open_file()
    file.write(b"one\n", NOW_S)
    append = append_file._append

    def late(fd: int, record: bytes) -> None:
        monkeypatch.setattr(append_file, "_append", append)
        os.unlink(file.path)
        append(fd, record)

    monkeypatch.setattr(append_file, "_append", late)
    file.write(b"two\n", NOW_S)

    assert b"two\n" == (tmp_path / "x.log").read_bytes()


def test_a_record_that_meets_a_rename_is_in_the_backup_once(
    open_file: Callable[..., AppendFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between look and write the file became a backup: the record is whole there, and only there."""
    file = open_file()
    file.write(b"one\n", NOW_S)
    append = append_file._append

    def late(fd: int, record: bytes) -> None:
        os.rename(file.path, f"{file.path}.1")
        append(fd, record)

    monkeypatch.setattr(append_file, "_append", late)
    file.write(b"two\n", NOW_S)

    assert ["x.log.1"] == names(tmp_path)
    assert b"one\ntwo\n" == (tmp_path / "x.log.1").read_bytes()


def test_a_size_limit_is_kept(open_file: Callable[..., AppendFile], tmp_path: Path) -> None:
    """The record that would pass the limit goes into a new file; one that is larger alone too."""
    file = open_file(Rotation(max_bytes=10, backups=2))
    for record in (b"12345\n", b"123\n", b"1\n", b"longer than the limit\n", b"2\n"):
        file.write(record, NOW_S)

    assert b"2\n" == (tmp_path / "x.log").read_bytes()
    assert b"longer than the limit\n" == (tmp_path / "x.log.1").read_bytes()
    assert b"1\n" == (tmp_path / "x.log.2").read_bytes()


def test_a_period_that_is_over_is_rotated_once_by_all(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """Two writers of one file; the first record of the new period rotates for both."""
    one, two = open_file(Rotation(every_s=100)), open_file(Rotation(every_s=100))
    one.write(b"1\n", NOW_S)
    two.write(b"2\n", NOW_S)
    later_s = os.stat(tmp_path / "x.log.lock").st_mtime + 100
    one.write(b"3\n", later_s)
    two.write(b"4\n", NOW_S)

    assert b"1\n2\n" == (tmp_path / "x.log.1").read_bytes()
    assert b"3\n4\n" == (tmp_path / "x.log").read_bytes()
    assert not (tmp_path / "x.log.2").exists()


def test_no_lock_file_is_made_where_nothing_is_rotated(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """Who leaves rotation to logrotate finds the log file alone."""
    open_file().write(b"1\n", NOW_S)

    assert ["x.log"] == names(tmp_path)


def test_a_short_write_leaves_a_blank_line_and_the_whole_record(
    open_file: Callable[..., AppendFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel took of a record is covered, though a sibling has appended behind it."""
    file, sibling = open_file(), open_file()
    sibling.write(b"first\n", NOW_S)
    write = os.write

    def short(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        count = write(fd, data[:7])
        sibling.write(b"sibling\n", NOW_S)
        return count

    monkeypatch.setattr(os, "write", short)
    file.write(b"a whole record\n", NOW_S)
    file.write(b"more\n", NOW_S)

    assert b"first\n      \nsibling\na whole record\nmore\n" == (tmp_path / "x.log").read_bytes()


def test_a_record_that_does_not_fit_is_not_there_at_all(
    open_file: Callable[..., AppendFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes a part of a record again and again: readers see none of it."""
    file = open_file()
    file.write(b"one\n", NOW_S)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(OSError, match="No space left") as refused:
        file.write(b"two two\n", NOW_S)

    assert refused.value.errno == errno.ENOSPC
    assert [b"one"] == [line for line in (tmp_path / "x.log").read_bytes().split() if line]


def test_a_real_limit_of_the_file_size_cuts_no_record(tmp_path: Path) -> None:
    """The kernel takes what fits, and the next record begins on a line of its own."""

    def act() -> list[Any]:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        file = AppendFile(str(tmp_path / "x.log"), NEVER)
        file.write(b"x" * 99 + b"\n", NOW_S)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))
        refusals = []
        for _ in range(2):
            try:
                file.write(b"y" * 99 + b"\n", NOW_S)
            except OSError as error:
                refusals.append(error.errno)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        file.write(b"z" * 99 + b"\n", NOW_S)
        return refusals

    assert [errno.EFBIG, errno.EFBIG] == in_child(act)
    lines = (tmp_path / "x.log").read_text().split("\n")
    assert ["x" * 99, " " * 49, "z" * 99, ""] == lines


def test_a_record_that_a_killed_process_left_unfinished_is_ended(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """The first record of its successor begins on a line of its own."""
    (tmp_path / "x.log").write_bytes(b"one\nhalf a rec")
    open_file().write(b"two\n", NOW_S)
    open_file().write(b"three\n", NOW_S)

    assert b"one\nhalf a rec\ntwo\nthree\n" == (tmp_path / "x.log").read_bytes()


def test_a_forked_child_opens_its_own(open_file: Callable[..., AppendFile], tmp_path: Path) -> None:
    """The descriptor of the parent is given back in the child, and the parent's stays."""
    file = open_file()
    file.write(b"parent\n", NOW_S)
    opened = file._fd

    def act() -> Any:
        before = file._fd
        still_open = os.path.exists(f"/proc/self/fd/{opened}")
        file.write(b"child\n", NOW_S)
        return [before, still_open]

    assert [None, False] == in_child(act)
    file.write(b"parent again\n", NOW_S)
    assert b"parent\nchild\nparent again\n" == (tmp_path / "x.log").read_bytes()


def test_a_directory_that_was_removed_is_made_anew(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """Somebody has tidied up."""
    file = open_file(path=str(tmp_path / "a" / "b" / "x.log"))
    file.write(b"one\n", NOW_S)
    os.unlink(file.path)
    os.rmdir(os.path.dirname(file.path))
    file.write(b"two\n", NOW_S)

    assert b"two\n" == (tmp_path / "a" / "b" / "x.log").read_bytes()


def test_a_fifo_that_nobody_reads_stops_nobody(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """The record is refused, as by a full disk; a reader that comes gets the next one."""
    path = tmp_path / "x.log"
    os.mkfifo(path)
    file = open_file()
    with pytest.raises(OSError, match="No such device"):
        file.write(b"one\n", NOW_S)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file.write(b"two\n", NOW_S)

        assert b"two\n" == os.read(reader, 100)
    finally:
        os.close(reader)


def test_a_fifo_that_is_full_stops_nobody(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """Its reader reads too slowly, or not at all."""
    path = tmp_path / "x.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = open_file()
    size = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
    try:
        for _ in range(size // 1024):
            file.write(b"x" * 1023 + b"\n", NOW_S)
        with pytest.raises(BlockingIOError):
            file.write(b"x" * 1023 + b"\n", NOW_S)
    finally:
        os.close(reader)


def test_a_clock_that_is_set_back_stops_no_rotation(
    open_file: Callable[..., AppendFile], tmp_path: Path
) -> None:
    """The last rotation lies in the future then; the period ends by the clock as it is."""
    file = open_file(Rotation(every_s=60))
    file.write(b"one\n", NOW_S)
    file.close()
    os.utime(tmp_path / "x.log.lock", (NOW_S + 1_000_000, NOW_S + 1_000_000))
    file.write(b"two\n", NOW_S)
    file.write(b"three\n", NOW_S + 60)

    assert b"one\ntwo\n" == (tmp_path / "x.log.1").read_bytes()
