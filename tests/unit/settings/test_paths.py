"""The working directory as typed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tornado_multi.settings.paths import typed_directory

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_link_in_pwd_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$PWD counts if it leads to the current directory."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))

    assert str(link) == typed_directory()


def test_a_wrong_pwd_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A $PWD that leads elsewhere, to nothing, or is relative, is ignored."""
    monkeypatch.chdir(tmp_path)
    for wrong in ("/", "/no/such/place", ".", ""):
        monkeypatch.setenv("PWD", wrong)

        assert os.path.realpath(tmp_path) == os.path.realpath(typed_directory())
        assert typed_directory() == os.getcwd()


def test_a_deleted_directory_is_the_text_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails before somebody wants to enter it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    gone.rmdir()

    assert str(gone) == typed_directory()
