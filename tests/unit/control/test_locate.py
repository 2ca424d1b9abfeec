"""Where control sockets are."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tornado_multi.control import locate
from tornado_multi.control.locate import (
    LocateError,
    candidate_directories,
    socket_path,
    sockets_in_default_places,
)
from tornado_multi.settings.bind import MAX_UNIX_PATH_BYTES

PRIVATE = f"tornado_multi-{os.getuid()}"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of our own: run/ for /run, tmp/ for the temporary directory, no variables."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for name in ("run", "tmp", "xdg"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path / "tmp"))

    def here(*parts: object) -> Path:
        return tmp_path / "run" if parts == ("/run",) else Path(*parts)  # type: ignore[arg-type]

    monkeypatch.setattr(locate, "Path", here)
    return tmp_path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- candidates -----------------------------------------------------------------------------------


def test_the_order_of_places(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd's directory, the user's, the system's, a private one."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/shop")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")

    assert [
        Path("/run/shop"),
        Path("/run/user/7/tornado_multi"),
        places / "run/tornado_multi",
        places / "tmp" / PRIVATE,
    ] == candidate_directories()


def test_a_read_only_machine_has_no_temporary_directory(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be made anywhere, the other places still count."""

    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(places / "xdg"))

    assert [places / "xdg", places / "run/tornado_multi"] == candidate_directories()
    assert places / "xdg/shop.sock" == socket_path(None, "shop")


def test_without_variables_two_places_are_left(places: Path) -> None:
    """A bare shell has neither variable; an empty one is as good as none."""
    assert [places / "run/tornado_multi", places / "tmp" / PRIVATE] == candidate_directories()


def test_the_first_of_several_runtime_directories(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systemd separates them by colons."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/shop:/run/other")

    assert Path("/run/shop") == candidate_directories()[0]


# --- the supervisor's path ------------------------------------------------------------------------


def test_a_path_that_is_given_is_taken(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--control is where the socket is, and no directory is made for it."""
    monkeypatch.chdir(places)

    assert Path("/run/shop.sock") == socket_path("/run/shop.sock", "ignored")
    assert places / "shop.sock" == socket_path("shop.sock", "ignored")


def test_the_name_names_the_socket(places: Path) -> None:
    """NAME.sock in the first directory that can be had."""
    assert places / "run/tornado_multi/shop.sock" == socket_path(None, "shop")


def test_a_directory_is_made_private(places: Path) -> None:
    """Nobody else may look into it, whatever the umask."""
    before = os.umask(0)
    try:
        socket_path(None, "shop")
    finally:
        os.umask(before)

    assert 0o700 == mode_of(places / "run/tornado_multi")


def test_a_directory_that_is_there_is_used_again(places: Path) -> None:
    """Two services of one user share it."""
    assert socket_path(None, "a").parent == socket_path(None, "b").parent


def test_a_place_that_can_not_be_made_is_passed_over(places: Path) -> None:
    """Without rights on /run the private directory serves."""
    (places / "run").rmdir()

    assert places / "tmp" / PRIVATE / "shop.sock" == socket_path(None, "shop")
    assert 0o700 == mode_of(places / "tmp" / PRIVATE)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_may_write_to_is_passed_over(places: Path, mode: int) -> None:
    """Somebody could put another socket in our place."""
    (places / "run/tornado_multi").mkdir()
    (places / "run/tornado_multi").chmod(mode)

    assert places / "tmp" / PRIVATE / "shop.sock" == socket_path(None, "shop")


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_what_is_no_directory_of_ours_is_passed_over(places: Path, kind: str) -> None:
    """A link in a shared place may lead anywhere, also to a directory that is ours."""
    place = places / "run/tornado_multi"
    if kind == "file":
        place.write_text("")
    else:
        place.symlink_to(places / ("tmp" if kind == "link" else "nowhere"))

    assert places / "tmp" / PRIVATE / "shop.sock" == socket_path(None, "shop")


def test_another_users_directory_is_passed_over(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the directory can replace what is in it."""
    (places / "run/tornado_multi").mkdir(mode=0o700)
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)

    with pytest.raises(LocateError, match=f"it belongs to uid {somebody - 1}"):
        socket_path(None, "shop")


def test_when_there_is_no_place_all_are_named(places: Path) -> None:
    """What was tried, what was wrong with each, and the mend."""
    (places / "run").rmdir()
    (places / "tmp").rmdir()

    with pytest.raises(LocateError) as caught:
        socket_path(None, "shop")
    assert str(caught.value) == (
        "No directory for the control socket "
        f"({places}/run/tornado_multi: No such file or directory; "
        f"{places}/tmp/{PRIVATE}: No such file or directory). Give a path with --control."
    )


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    """Before bind(2) says something less clear; bytes count, not characters."""
    longest = "/" + "x" * (MAX_UNIX_PATH_BYTES - 1)

    assert Path(longest) == socket_path(longest, "shop")
    with pytest.raises(LocateError, match="longer than 107 bytes, the kernel's limit: /xx"):
        socket_path(longest + "x", "shop")
    with pytest.raises(LocateError, match="longer than 107 bytes"):
        socket_path("/" + "é" * 54, "shop")


# --- where commands look --------------------------------------------------------------------------


def test_commands_look_in_every_place(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may have been started in another environment than the command."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(places / "xdg"))
    made = [
        places / "xdg/tornado_multi/b.sock",
        places / "run/tornado_multi/a.sock",
        places / "run/tornado_multi/c.sock",
        places / "tmp" / PRIVATE / "d.sock",
    ]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (places / "run/tornado_multi/c.sock.lock").write_text("")

    assert made == sockets_in_default_places()


def test_a_name_is_looked_for_in_every_place_that_exists(places: Path) -> None:
    """Whether it is there is found out by connecting."""
    (places / "tmp" / PRIVATE).mkdir()

    assert [places / "tmp" / PRIVATE / "shop.sock"] == sockets_in_default_places("shop")


def test_one_place_twice_gives_each_socket_once(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RUNTIME_DIRECTORY is often the same as /run/tornado_multi: one service is no two."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", os.fspath(places / "run/tornado_multi"))
    (places / "run/tornado_multi").mkdir()
    (places / "run/tornado_multi/a.sock").write_text("")

    assert [places / "run/tornado_multi/a.sock"] == sockets_in_default_places()


def test_no_place_at_all_is_no_error() -> None:
    """Nothing was ever started on this machine."""
    assert [] == sockets_in_default_places()
    assert [] == sockets_in_default_places("shop")


def test_somebody_elses_directory_is_not_looked_into(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's socket in /tmp must not answer our commands; root's may."""
    (places / "run/tornado_multi").mkdir()
    (places / "run/tornado_multi/a.sock").write_text("")
    owner = (places / "run/tornado_multi").stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)

    expected = [places / "run/tornado_multi/a.sock"] if owner == 0 else []

    assert expected == sockets_in_default_places()
