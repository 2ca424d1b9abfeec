"""When log files are rotated, and how backups move."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from tornado_multi.logs.rotation import (
    Rotation,
    last_rotation_s,
    moves,
    period_end_s,
    rotate,
    try_lock,
)

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S, DAY_S = 3600, 86400


@pytest.mark.parametrize(
    ("begun_s", "every_s", "offset_s", "end_s"),
    [
        (0, DAY_S, 0, DAY_S),
        (DAY_S - 1, DAY_S, 0, DAY_S),
        (DAY_S, DAY_S, 0, 2 * DAY_S),
        (0, DAY_S, 2 * HOUR_S, 22 * HOUR_S),
        (22 * HOUR_S, DAY_S, 2 * HOUR_S, 46 * HOUR_S),
        (0, DAY_S, -5 * HOUR_S, 5 * HOUR_S),
        (1.5, 1, 0, 2),
    ],
)
def test_periods_end_at_local_midnight_and_its_multiples(
    begun_s: float, every_s: int, offset_s: int, end_s: float
) -> None:
    """A day ends at local midnight, wherever that is."""
    assert end_s == period_end_s(begun_s, every_s, offset_s)


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ([], ["x>1"]),
        (["x.1"], ["1>2", "x>1"]),
        (["x.1", "x.2"], ["2>3", "1>2", "x>1"]),
        (["x.1", "x.2", "x.3"], ["2>3", "1>2", "x>1"]),
        (["x.2", "x.3"], ["x>1"]),
        (["x.1", "x.3"], ["1>2", "x>1"]),
    ],
)
def test_only_the_oldest_backup_is_overwritten(present: list[str], wanted: list[str]) -> None:
    """With three backups; a gap that a killed rotation has left is filled first."""
    found = moves("x", 3, present.__contains__)

    assert wanted == [f"{old.rpartition('.')[2]}>{new[2:]}" for old, new in found]


def test_one_backup_is_overwritten_each_time() -> None:
    """The least that can be kept."""
    assert [("x", "x.1")] == moves("x", 1, lambda _: True)


def test_a_second_rotation_of_the_same_file_does_nothing(tmp_path: Path) -> None:
    """Two processes that find one file due rotate it once."""
    path = tmp_path / "x.log"
    path.write_text("first\n")
    seen = os.stat(path)
    rotate(str(path), seen, Rotation(backups=3))
    path.write_text("second\n")
    rotate(str(path), seen, Rotation(backups=3))

    assert ["x.log", "x.log.1", "x.log.lock"] == sorted(os.listdir(tmp_path))
    assert "second\n" == path.read_text()


def test_nobody_waits_for_a_rotation(tmp_path: Path) -> None:
    """A process that was stopped while it rotates holds the lock; the others leave the file be."""
    path = tmp_path / "x.log"
    path.write_text("first\n")
    with open(f"{path}.lock", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        rotate(str(path), os.stat(path), Rotation(backups=3))
        with try_lock(str(path)) as fd:
            assert fd is None

    assert "first\n" == path.read_text()


def test_an_empty_file_is_not_rotated(tmp_path: Path) -> None:
    """A service that logs nothing for days keeps its backups."""
    path = tmp_path / "x.log"
    path.touch()
    rotate(str(path), os.stat(path), Rotation(backups=3))

    assert ["x.log", "x.log.lock"] == sorted(os.listdir(tmp_path))


def test_a_file_without_a_lock_file_counts_from_its_last_record(tmp_path: Path) -> None:
    """What a program before us has written yesterday is rotated today."""
    path = tmp_path / "x.log"
    path.write_text("old\n")
    os.utime(path, (1000, 1000))

    assert 1000 == last_rotation_s(str(path))
    assert 1000 == last_rotation_s(str(path))
