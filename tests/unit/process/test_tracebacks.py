"""Tracebacks as the app's author wants to see them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

from tornado_multi.process.tracebacks import PACKAGE_DIRECTORY, app_traceback, first_line
from tornado_multi.settings.bind import parse_bind

if TYPE_CHECKING:
    from pathlib import Path


def caught(module: str) -> BaseException:
    """Import a module as the zygote does, and return what it raised."""
    try:
        importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - also SystemExit
        return error
    raise AssertionError("it should have failed")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_traceback_begins_in_the_app(write: Path) -> None:
    """No frame of importlib's: the first one shown is the app's own line."""
    (write / "breaks_at_import.py").write_text("def work():\n    1 / 0\n\nwork()\n")
    error = caught("breaks_at_import")
    # The frame of this test stands for the zygote's, which is recognised by its directory.
    assert error.__traceback__ is not None
    text = app_traceback(error.with_traceback(error.__traceback__.tb_next))
    lines = text.splitlines()

    assert "Traceback (most recent call last):" == lines[0]
    assert f'  File "{write}/breaks_at_import.py", line 4, in <module>' == lines[1]
    assert "importlib" not in text
    assert "ZeroDivisionError: division by zero" == lines[-1]


def test_our_own_frames_are_left_out_at_the_beginning() -> None:
    """An error that comes from our own code alone keeps its last line."""
    with pytest.raises(ValueError, match="must be") as info:
        parse_bind("nonsense")
    error = info.value
    assert error.__traceback__ is not None
    text = app_traceback(error.with_traceback(error.__traceback__.tb_next))

    assert PACKAGE_DIRECTORY not in text
    assert text.startswith("ValueError: must be host:port")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyError("no"), "KeyError: 'no'"),
        (SystemExit(), "sys.exit(None)"),
        (SystemExit("bye"), "sys.exit('bye')"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (
            SyntaxError("invalid syntax", ("shop/views.py", 12, 1, "x x", 12, 2)),
            "SyntaxError: invalid syntax (shop/views.py, line 12)",
        ),
        (SyntaxError("no file"), "SyntaxError: no file"),
        (
            IndentationError("unexpected indent", ("shop/views.py", 3, 1, " x", 3, 2)),
            "IndentationError: unexpected indent (shop/views.py, line 3)",
        ),
    ],
)
def test_an_error_in_one_line(error: BaseException, expected: str) -> None:
    """What the last line of a traceback says; sys.exit as what it is; a syntax error with its place."""
    assert expected == first_line(error)


def test_an_error_of_several_lines_is_one_line() -> None:
    """A status line and a log line have room for one."""
    assert "ValueError: first" == first_line(ValueError("first\nsecond"))


def test_notes_are_not_taken_for_the_error() -> None:
    """What add_note() says stands below the error in the traceback, not in its place."""
    error = ValueError("no")
    error.add_note("Seen while reading the settings.")

    assert "ValueError: no" == first_line(error)
    assert app_traceback(error).endswith("Seen while reading the settings.")
