"""Loading the app.

Each app is a module of its own name in a temporary directory: nothing of one test is left to another.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tornado import autoreload, options

from tornado_multi import loading
from tornado_multi.loading import LoadError, load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _zygote_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The app's directory is first on the path; Tornado's own is as it was afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(autoreload, "start", autoreload.start)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write an app's module; return its name."""

    def write_module(source: str) -> str:
        name = f"app_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return write_module


def refusal(app: str, arguments: tuple[str, ...] | None = None) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load_target(app, arguments, "/srv/shop")
    return caught.value


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [("app", "the app"), ("make_app", "made"), ("Settings.app", "inner")],
)
def test_the_attribute_is_returned_as_it_is(
    write: Callable[[str], str], attribute: str, expected: str
) -> None:
    """Nothing is called: factories run in each worker. An attribute may have dots."""
    name = write("app = 'the app'\nmake_app = 'made'\nclass Settings:\n    app = 'inner'\n")

    assert expected == load_target(f"{name}:{attribute}", None, "/srv/shop")


def test_a_factory_is_not_called(write: Callable[[str], str]) -> None:
    """It is for the workers."""
    name = write("def make_app():\n    raise RuntimeError('called')\n")

    assert callable(load_target(f"{name}:make_app", None, "/srv/shop"))


def test_a_module_of_a_package_is_imported(tmp_path: Path) -> None:
    """``shop.web.main:app``."""
    (tmp_path / "app_package" / "web").mkdir(parents=True)
    (tmp_path / "app_package" / "web" / "main.py").write_text("app = 7\n")

    assert 7 == load_target("app_package.web.main:app", None, "/srv/shop")


# --- the user's mistakes --------------------------------------------------------------------------


def test_a_module_that_does_not_exist_is_a_usage_error() -> None:
    """What was looked for, where, and the mend; no traceback."""
    error = refusal("no_such_shop:app")

    assert error.usage
    assert "" == error.detail
    assert error.reason == (
        "There is no module 'no_such_shop'. It was looked for in /srv/shop and on the "
        "interpreter's path; choose the app's directory with --chdir."
    )


@pytest.mark.parametrize(
    ("app", "missing"),
    [("app_outer.inner:app", "app_outer.inner"), ("app_nowhere.inner:app", "app_nowhere")],
)
def test_a_missing_part_of_a_package_is_a_usage_error(
    tmp_path: Path, app: str, missing: str
) -> None:
    """The part that is missing is named, not the whole."""
    (tmp_path / "app_outer").mkdir()
    (tmp_path / "app_outer" / "__init__.py").write_text("")
    error = refusal(app)

    assert error.usage
    assert error.reason.startswith(f"There is no module '{missing}'.")


@pytest.mark.parametrize("app", ["shop/app.py:app", "shop.py:app"])
def test_a_file_in_place_of_a_module_is_a_usage_error(app: str) -> None:
    """People type paths."""
    error = refusal(app)

    assert error.usage
    assert error.reason.startswith("There is no module")


def test_an_attribute_that_does_not_exist_is_a_usage_error(write: Callable[[str], str]) -> None:
    """With the likely names that the module has."""
    name = write("def make_application(): ...\nmy_app = 1\n_hidden_app = 2\nother = 3\n")
    error = refusal(f"{name}:app")

    assert error.usage
    assert error.reason == (
        f"The module '{name}' has no attribute 'app'. It has: make_application, my_app."
    )


def test_a_module_without_likely_names_lists_none(write: Callable[[str], str]) -> None:
    """A list of everything helps nobody."""
    name = write("other = 3\n")

    assert f"The module '{name}' has no attribute 'x.y'." == refusal(f"{name}:x.y").reason


# --- the app's mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("from os import no_such_name\n", "ImportError: cannot import name 'no_such_name'"),
        ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
        ("raise SystemExit('bye')\n", "sys.exit('bye')"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("class Odd(BaseException): ...\nraise Odd('odd')\n", "Odd: odd"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("  x = 1\n", "IndentationError: unexpected indent"),
    ],
)
def test_an_app_that_fails_at_import_is_a_boot_failure(
    write: Callable[[str], str], source: str, said: str
) -> None:
    """Whatever it raises, SystemExit included: one line, and the traceback from the app's line on."""
    name = write(source)
    error = refusal(f"{name}:app")

    assert not error.usage
    assert error.reason.startswith(f"The app failed while importing {name}: ")
    assert said in error.reason
    assert f"{name}.py" in error.detail
    assert "importlib" not in error.detail
    assert os.path.dirname(loading.__file__) not in error.detail


def test_a_library_with_the_apps_beginning_is_the_apps_mistake(
    write: Callable[[str], str],
) -> None:
    """``shop`` that can't import ``shop_tools`` is not a mistyped ``shop``."""
    name = write("")
    (outer,) = [write(f"import {name}_tools\n")]
    error = refusal(f"{outer}:app")

    assert not error.usage
    assert f"No module named '{name}_tools'" in error.reason


def test_an_app_with_a_librarys_beginning_is_not_taken_for_it(tmp_path: Path) -> None:
    """``shop_web`` that can't import ``shop`` exists: the mistake is in it, not in what was typed."""
    (tmp_path / "app_shop_web.py").write_text("import app_shop\n")
    error = refusal("app_shop_web:app")

    assert not error.usage
    assert "No module named 'app_shop'" in error.reason


def test_a_module_that_misses_a_module_of_its_own_name_is_the_apps_mistake(
    tmp_path: Path,
) -> None:
    """A package whose own inner import fails exists: the traceback shows the line."""
    (tmp_path / "app_broken").mkdir()
    (tmp_path / "app_broken" / "__init__.py").write_text("import app_broken.missing\n")
    error = refusal("app_broken:app")

    assert not error.usage
    assert "No module named 'app_broken.missing'" in error.reason


# --- the app's own options ------------------------------------------------------------------------


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> options.OptionParser:
    """Tornado's options of a process of its own."""
    made = options.OptionParser()
    monkeypatch.setattr(options, "options", made)
    monkeypatch.setattr(options, "parse_command_line", made.parse_command_line)
    made.define("port", type=int, default=1)
    made.define("title", type=str, default="")
    return made


def test_arguments_are_parsed_without_callbacks(
    write: Callable[[str], str], parser: options.OptionParser
) -> None:
    """Values are set; parse callbacks (they open log files) are left to the workers."""
    called: list[int] = []
    parser.add_parse_callback(lambda: called.append(1))
    load_target(f"{write('app = 1')}:app", ("--port=7", "--title=shop"), "/srv/shop")

    assert (7, "shop") == (parser.port, parser.title)
    assert [] == called

    parser.run_parse_callbacks()

    assert [1] == called


def test_without_two_dashes_nothing_is_parsed(
    write: Callable[[str], str], parser: options.OptionParser
) -> None:
    """An app that doesn't use tornado.options is left alone."""
    load_target(f"{write('app = 1')}:app", None, "/srv/shop")

    assert 1 == parser.port


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prot=7",), "The app's options (after --: --prot=7) are wrong: Unrecognized"),
        (("--port=many",), "The app's options (after --: --port=many) are wrong: "),
        (("extra",), "The app's options (after --) take no such argument: 'extra'."),
        (("--port=7", "extra", "more"), "take no such argument: 'extra'."),
        (("--help",), "The app's options were listed; nothing was started."),
    ],
)
def test_wrong_options_are_a_usage_error(
    write: Callable[[str], str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """A mistake in what the user typed, in one sentence; no traceback."""
    error = refusal(f"{write('app = 1')}:app", arguments)

    assert said in error.reason
    assert error.usage
    assert "" == error.detail


@pytest.mark.usefixtures("parser")
def test_help_lists_the_apps_options(
    write: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """``serve shop:app -- --help`` is how one asks for them."""
    refusal(f"{write('app = 1')}:app", ("--help",))

    assert "--port" in capsys.readouterr().err


def test_an_option_whose_callback_fails_is_the_apps_mistake(
    write: Callable[[str], str], parser: options.OptionParser
) -> None:
    """``--config=missing.conf`` with a callback that reads it: the traceback is shown."""

    def read(path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", path)

    parser.define("config", type=str, callback=read)
    error = refusal(f"{write('app = 1')}:app", ("--config=missing.conf",))

    assert not error.usage
    assert "missing.conf" in error.reason
    assert "FileNotFoundError" in error.detail


# --- Tornado's autoreload -------------------------------------------------------------------------


def test_debug_does_not_start_tornados_autoreload(write: Callable[[str], str]) -> None:
    """It would re-execute the command line that the worker inherited; that it was asked for is kept."""
    name = write("from tornado.web import Application\napp = Application(debug=True)\n")
    load_target(f"{name}:app", None, "/srv/shop")

    assert autoreload.start.asked  # type: ignore[attr-defined]


def test_an_app_without_debug_asks_for_no_autoreload(write: Callable[[str], str]) -> None:
    """The notice is for those who asked."""
    name = write("from tornado.web import Application\napp = Application()\n")
    load_target(f"{name}:app", None, "/srv/shop")

    assert not autoreload.start.asked  # type: ignore[attr-defined]


# --- in a process of its own ----------------------------------------------------------------------

FRESH = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from tornado_multi.loading import load_target
load_target("app_fresh:app", ("--logging=none",), sys.argv[1])
import os
fds = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]]
polls = [fd for fd in fds if "eventpoll" in fd or "socket" in fd]
print(threading.active_count(), polls, "uvloop" in sys.modules)
"""


def test_loading_starts_no_thread_and_no_loop(tmp_path: Path) -> None:
    """A zygote forks: what an application with debug=True leaves must survive that."""
    (tmp_path / "app_fresh.py").write_text(
        "from tornado.web import Application\napp = Application(debug=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "1 [] False\n" == done.stdout
