"""Locked pid files."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tornado_multi.supervisor.lockfile import AlreadyRunningError, PidFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from tornado_multi.supervisor.lockfile import PidFile
lock = PidFile.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.pid"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process
        process.kill()


def test_the_file_holds_our_pid(path: Path) -> None:
    """The pid is for people: decimal, one line."""
    lock = PidFile.acquire(path)

    assert f"{os.getpid()}\n" == path.read_text()

    lock.close()


def test_the_file_is_removed_at_the_end(path: Path) -> None:
    """A service that has stopped leaves no file."""
    PidFile.acquire(path).close()

    assert not path.exists()


def test_a_second_holder_in_this_process_is_refused(path: Path) -> None:
    """The lock belongs to the open file, not to the process."""
    lock = PidFile.acquire(path)

    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()} holds the lock on {path}"):
        PidFile.acquire(path)
    assert f"{os.getpid()}\n" == path.read_text()

    lock.close()
    PidFile.acquire(path).close()


def test_a_second_process_is_refused_with_the_first_ones_pid(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    """The sentence names the pid, the file and what to do."""
    with pytest.raises(AlreadyRunningError) as caught:
        PidFile.acquire(path)

    assert str(caught.value) == (
        f"Already running: pid {holder.pid} holds the lock on {path}. Stop it with "
        "tornado-multi stop, or choose another --name, --control or --pid-file."
    )
    assert f"{holder.pid}\n" == path.read_text()


def test_the_lock_of_a_killed_process_is_free(path: Path, holder: subprocess.Popen[str]) -> None:
    """A dead holder's file is taken over, and its pid, by now perhaps somebody else's, forgotten."""
    holder.kill()
    holder.wait()

    assert path.exists()

    lock = PidFile.acquire(path)

    assert f"{os.getpid()}\n" == path.read_text()

    lock.close()


def test_a_stale_file_is_taken_over_whole(path: Path) -> None:
    """Whatever the file held before, only our pid is left in it."""
    path.write_text("99999999999999999999\n")
    lock = PidFile.acquire(path)

    assert f"{os.getpid()}\n" == path.read_text()

    lock.close()


def test_a_file_that_holds_no_pid_is_left_alone(path: Path) -> None:
    """A mistyped path must not cost somebody a file."""
    path.write_text("my notes\n")

    with pytest.raises(OSError, match="holds no pid"):
        PidFile.acquire(path)
    assert "my notes\n" == path.read_text()


def test_a_holder_that_has_not_written_its_pid_is_another_process(path: Path) -> None:
    """Between lock and write there is no pid to name."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(AlreadyRunningError, match="another process holds the lock"):
            PidFile.acquire(path)


def test_a_replaced_path_is_left_alone(path: Path) -> None:
    """At the end we remove our own file, not one that somebody put in its place."""
    lock = PidFile.acquire(path)
    path.unlink()
    path.write_text("theirs")
    lock.close()

    assert "theirs" == path.read_text()


def test_a_removed_path_is_no_matter(path: Path) -> None:
    """Somebody cleaned up before us."""
    lock = PidFile.acquire(path)
    path.unlink()
    lock.close()

    assert not path.exists()


def test_a_file_removed_before_our_lock_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last owner removes the path between our open and our lock: that lock is worth nothing."""
    locked: list[int] = []
    flock = fcntl.flock

    def last_owner_leaves(fd: int, operation: int) -> None:
        if not locked:
            path.unlink()
        locked.append(fd)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", last_owner_leaves)
    lock = PidFile.acquire(path)

    assert 2 == len(locked)
    assert f"{os.getpid()}\n" == path.read_text()
    with pytest.raises(AlreadyRunningError):
        PidFile.acquire(path)

    lock.close()


def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    """A link in a directory that others may write to would have us overwrite its target."""
    target = tmp_path / "precious"
    target.write_text("kept")
    path.symlink_to(target)

    with pytest.raises(OSError, match="symbolic link"):
        PidFile.acquire(path)
    assert "kept" == target.read_text()


@pytest.mark.parametrize("where", ["missing/shop.pid", "."])
def test_what_the_system_refuses_is_an_os_error(tmp_path: Path, where: str) -> None:
    """A missing directory, or a directory in the file's place, is the system's own sentence."""
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        PidFile.acquire(tmp_path / where)


def test_the_lock_is_not_inherited(path: Path) -> None:
    """A child that outlives us must not hold our lock."""
    lock = PidFile.acquire(path)
    fds = {
        int(fd)
        for fd in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{fd}") == os.fspath(path)
    }

    assert 1 == len(fds)
    assert [False] == [os.get_inheritable(fd) for fd in fds]

    lock.close()


def test_nothing_stays_open_after_a_refusal(path: Path) -> None:
    """Ten refusals leave as many descriptors open as none."""
    lock = PidFile.acquire(path)
    before = os.listdir("/proc/self/fd")
    for _ in range(10):
        with pytest.raises(AlreadyRunningError):
            PidFile.acquire(path)

    assert before == os.listdir("/proc/self/fd")

    lock.close()
