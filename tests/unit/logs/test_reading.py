"""Reading files that are rotated meanwhile."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tornado_multi.logs.merge import Filters
from tornado_multi.logs.reading import Follower, find_families, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGIN = datetime(2026, 11, 25, 10, tzinfo=UTC)
ALL = Filters()


def line(second: int, text: str = "x", fork_id: int = 0) -> str:
    stamp = (BEGIN + timedelta(seconds=second)).isoformat(" ", "microseconds")
    return f"{stamp} INFO     worker fork_id={fork_id} gen=1 pid=1: a: {text}\n"


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def texts(entries: list[object]) -> list[str]:
    return [str(getattr(entry, "text", "")).partition(": a: ")[2] for entry in entries]


def families(directory: Path) -> dict[str, list[str]]:
    return find_families(str(directory), None)


def test_files_are_found_with_their_backups(tmp_path: Path) -> None:
    """The oldest first; lock files and what else lies there are left out."""
    for name in (
        "a.0.log",
        "a.0.log.1",
        "a.0.log.10",
        "a.0.log.2",
        "a.0.log.lock",
        "b.log",
        "x.txt",
    ):
        (tmp_path / name).touch()

    assert {
        f"{tmp_path}/a.0.log": [f"{tmp_path}/a.0.log{end}" for end in (".10", ".2", ".1", "")],
        f"{tmp_path}/b.log": [f"{tmp_path}/b.log"],
    } == families(tmp_path)


@pytest.mark.parametrize("name", ["all.log", "all"])
def test_one_file_is_found_with_its_backups(tmp_path: Path, name: str) -> None:
    """Whatever it is called, and nothing beside it."""
    for end in ("", ".1", ".2", ".lock"):
        (tmp_path / f"{name}{end}").touch()
    (tmp_path / "other.log").touch()
    path = f"{tmp_path}/{name}"

    assert {path: [f"{path}.2", f"{path}.1", path]} == find_families(None, path)


def test_records_are_merged_by_time(tmp_path: Path) -> None:
    """Over workers and backups."""
    write(tmp_path / "a.0.log.1", line(1, "one"), line(4, "four"))
    write(tmp_path / "a.0.log", line(5, "five"))
    write(tmp_path / "a.1.log", line(2, "two"), line(3, "three"), line(6, "six"))

    assert ["one", "two", "three", "four", "five", "six"] == texts(
        list(read_all(families(tmp_path), ALL, None))
    )
    assert ["five", "six"] == texts(list(read_all(families(tmp_path), ALL, 2)))


def test_no_more_is_read_than_is_wanted(tmp_path: Path) -> None:
    """A backup that can hold nothing wanted is not opened: it may be a directory for all we care."""
    (tmp_path / "a.0.log.1").mkdir()
    write(tmp_path / "a.0.log", line(1, "one"), line(2, "two"))

    assert ["one", "two"] == texts(list(read_all(families(tmp_path), ALL, 2)))


def test_files_that_are_too_old_are_not_read(tmp_path: Path) -> None:
    """With --since: the file that was written last before it, and all older ones."""
    (tmp_path / "a.0.log.2").mkdir()
    write(tmp_path / "a.0.log.1", line(1, "one"))
    write(tmp_path / "a.0.log", line(100, "two"))
    since_s = BEGIN.timestamp() + 50
    for name, written_s in (("a.0.log.1", since_s - 1), ("a.0.log", since_s + 50)):
        os.utime(tmp_path / name, (written_s, written_s))

    assert ["two"] == texts(list(read_all(families(tmp_path), Filters(since_s=since_s), None)))


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    write(tmp_path / "a.0.log", line(1, "before"))
    made = Follower(str(tmp_path), None)
    yield made
    made.close()


def look(follower: Follower, times: int = 2) -> list[str]:
    """Look so often that a last record of several lines is known to be whole."""
    return texts([entry for _ in range(times) for entry in follower.look(ALL)])


def test_what_was_there_is_not_followed(follower: Follower, tmp_path: Path) -> None:
    """It is read up to where the follower stands, and followed from there."""
    ends = follower.ends()
    write(tmp_path / "a.0.log", line(2, "after"))
    write(tmp_path / "a.1.log", line(2, "new file"))
    before = read_all(families(tmp_path), ALL, None, ends)

    assert ["before"] == texts(list(before))
    assert ["after", "new file"] == sorted(look(follower))
    assert [] == look(follower)


def test_it_follows_through_rotations(follower: Follower, tmp_path: Path) -> None:
    """Two between two looks, and a straggler that writes to a backup."""
    path = tmp_path / "a.0.log"
    write(path, line(2, "two"))
    path.rename(tmp_path / "a.0.log.1")
    write(path, line(3, "three"))
    (tmp_path / "a.0.log.1").rename(tmp_path / "a.0.log.2")
    path.rename(tmp_path / "a.0.log.1")
    write(path, line(4, "four"))

    assert ["two", "three", "four"] == look(follower)

    write(tmp_path / "a.0.log.2", line(5, "straggler"))

    assert ["straggler"] == look(follower)


def test_a_file_that_was_deleted_is_given_back(follower: Follower, tmp_path: Path) -> None:
    """After its last records were read: else its space would stay taken."""
    write(tmp_path / "a.0.log", line(2, "last"))
    (tmp_path / "a.0.log").unlink()

    assert ["last"] == look(follower)
    assert {} == follower.ends()


def test_a_record_of_several_lines_is_seen_whole(follower: Follower, tmp_path: Path) -> None:
    """Though a look may come between its lines."""
    whole = line(2, "failed\n    Traceback\n    ValueError")
    write(tmp_path / "a.0.log", whole[:-20])

    assert [] == texts(list(follower.look(ALL)))

    write(tmp_path / "a.0.log", whole[-20:])

    assert ["failed\n    Traceback\n    ValueError"] == look(follower)


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    """A directory can't be read, and a FIFO may never end."""
    write(tmp_path / "a.0.log", line(1, "one"))
    (tmp_path / "old.log").mkdir()
    os.mkfifo(tmp_path / "x.log")
    follower = Follower(str(tmp_path), None)
    write(tmp_path / "a.0.log", line(2, "two"))
    try:
        assert ["two"] == look(follower)
        assert ["one", "two"] == texts(read_all(families(tmp_path), ALL, None))  # type: ignore[arg-type]
    finally:
        follower.close()


def test_a_number_that_is_none_is_part_of_the_name(tmp_path: Path) -> None:
    """Not all that Python calls a digit is one."""
    for end in ("", ".1", ".²"):
        (tmp_path / f"all.log{end}").touch()
    path = f"{tmp_path}/all.log"

    assert {path: [f"{path}.1", path]} == find_families(None, path)


def test_the_youngest_are_found_in_a_file_that_is_out_of_order(tmp_path: Path) -> None:
    """Processes that share a file are not in step; of one moment, the later in the file is later."""
    write(
        tmp_path / "all.log", line(4, "c"), line(4, "d"), line(1, "a"), line(5, "e"), line(2, "b")
    )

    assert ["c", "d", "e"] == texts(read_all(families(tmp_path), ALL, 3))  # type: ignore[arg-type]


def test_a_file_that_was_emptied_is_followed_from_its_begin(
    follower: Follower, tmp_path: Path
) -> None:
    """As logrotate does with copytruncate."""
    path = tmp_path / "a.0.log"
    write(path, line(1, "one"), line(2, "two"))

    assert ["one", "two"] == look(follower)

    os.truncate(path, 0)
    write(path, line(3, "three"))

    assert ["three"] == look(follower)
