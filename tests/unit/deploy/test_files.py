"""Files that are written whole or not at all."""

from __future__ import annotations

import glob
import os
import stat
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from tornado_multi.deploy.files import Written, alone, write_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_readable_for_all(tmp_path: Path) -> None:
    """It gets no backup, and undone it is gone."""
    file = tmp_path / "a.conf"
    written = write_whole(str(file), "new ü\n")

    assert Written(str(file), is_changed=True) == written
    assert ("new ü\n", 0o644) == (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777)
    written.undo()
    assert [] == os.listdir(tmp_path)


def test_the_old_one_is_kept_and_can_come_back(tmp_path: Path) -> None:
    """With its mode."""
    file = tmp_path / "a.conf"
    file.write_text("old\n")
    file.chmod(0o600)
    written = write_whole(str(file), "new\n")

    assert "old\n" == (tmp_path / ".a.conf.bak").read_text()
    assert "new\n" == file.read_text()
    written.undo()
    assert ("old\n", 0o600) == (file.read_text(), file.stat().st_mode & 0o777)


def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    """Not even its time."""
    file = tmp_path / "a.conf"
    file.write_text("same\n")
    before = file.stat()
    written = write_whole(str(file), "same\n")
    written.undo()

    assert Written(str(file), is_changed=False) == written
    assert before == file.stat()
    assert ["a.conf"] == os.listdir(tmp_path)


@pytest.mark.parametrize("before", [b"caf\xe9\n", b"of Windows\r\n", b"new\r\n"])
def test_bytes_that_are_no_text_of_ours_are_kept(tmp_path: Path, before: bytes) -> None:
    """Whatever stood there before comes back as it was, also with other line ends."""
    file = tmp_path / "a.conf"
    file.write_bytes(before)
    written = write_whole(str(file), "new\n")

    assert before == (tmp_path / ".a.conf.bak").read_bytes()
    written.undo()
    assert before == file.read_bytes()


def test_what_comes_back_needs_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may have filled up meanwhile."""
    file = tmp_path / "a.conf"
    file.write_text("old\n")
    written = write_whole(str(file), "new\n")

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    written.undo()
    assert "old\n" == file.read_text()


def test_who_comes_second_waits(tmp_path: Path) -> None:
    """It would take back what the first one has written, or the first one its."""
    order: list[str] = []

    def second() -> None:
        with alone(str(tmp_path / "b.conf"), lambda _: waiting.set()):
            order.append("second")

    waiting, thread = threading.Event(), threading.Thread(target=second)
    with alone(str(tmp_path / "a.conf"), order.append):
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join()

    assert ["first", "second"] == order
    with alone(str(tmp_path / "no" / "a.conf"), order.append):  # writing will say so
        pass


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever, and a device such as /dev/null would become a file."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OSError, match="no regular file"):
            write_whole(str(path), "new\n")

    assert {"pipe", "link"} == set(os.listdir(tmp_path))
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_server_that_includes_the_whole_directory_skips_the_old_one(tmp_path: Path) -> None:
    """As ``include sites-enabled/*`` does: a second upstream of the same name would be refused."""
    file = tmp_path / "shop"
    for text in ("old\n", "new\n"):
        write_whole(str(file), text)

    assert ["shop"] == [os.path.basename(path) for path in glob.glob(f"{tmp_path}/*")]


def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say: the old file is whole, and no temporary one is left."""
    file = tmp_path / "a.conf"
    file.write_text("old\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(str(file), "new\n")

    assert "old\n" == file.read_text()
    assert ["a.conf"] == os.listdir(tmp_path)
