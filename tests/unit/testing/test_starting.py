"""Which options and which directory a test's service gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tornado_multi.testing.errors import OptionError
from tornado_multi.testing.starting import app_directory, merge_markers

if TYPE_CHECKING:
    from pathlib import Path


def test_the_nearest_marker_wins_option_by_option() -> None:
    """A test changes one option of its module's marker and keeps the others."""
    of_test = ((), {"workers": 4, "http": {"idle_timeout_s": 1}})
    of_module = (
        ("shop:make_app",),
        {"workers": 1, "http": {"idle_timeout_s": 9, "decompress": True}},
    )

    assert {
        "app": "shop:make_app",
        "workers": 4,
        "http.idle_timeout_s": 1,
        "http.decompress": True,
    } == merge_markers([of_test, of_module])


def test_a_marker_takes_one_app() -> None:
    """A second positional argument is a mistake."""
    with pytest.raises(OptionError, match="takes one app, not 2"):
        merge_markers([(("shop:make_app", 2), {})])


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["shop.py"], "."),
        (["shop/__init__.py"], "."),
        (["tests/shop.py"], "tests"),
        (["tests/shop/__init__.py"], "tests"),
        (["shop.py", "tests/shop.py"], "."),
        ([], "."),
    ],
)
def test_the_app_is_where_its_module_is(tmp_path: Path, files: list[str], found: str) -> None:
    """The root of the tests, or the test file's directory if the module is there only."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert tmp_path / found == app_directory("shop.web:make_app", tmp_path, tmp_path / "tests")
