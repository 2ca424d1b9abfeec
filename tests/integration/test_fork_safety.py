"""What workers would share by accident: found, named with its line, and made harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

MAKE_APP = """
def make_app():
    from tornado.web import Application
    return Application([])
"""


def check(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``check`` for the module ``app`` of a directory."""
    return subprocess.run(
        [sys.executable, "-m", "tornado_multi", "check", "app:make_app", *options],
        cwd=directory, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def findings(directory: Path, code: str, *options: str) -> list[dict[str, Any]]:
    """Return what is found in an app with this code at import."""
    (directory / "app.py").write_text(code + MAKE_APP)
    done = check(directory, "--json", *options)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def test_a_clean_app(tmp_path: Path) -> None:
    """One line and exit code 0."""
    (tmp_path / "app.py").write_text(MAKE_APP)
    done = check(tmp_path)

    assert ("Clean before the first fork.\n", 0) == (done.stdout, done.returncode)


def test_an_error_is_printed_with_its_line_and_mend(tmp_path: Path) -> None:
    """Exit code 1; what it is, where it was made, what it does, what to do instead."""
    code = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "app.py").write_text(code + MAKE_APP)
    done = check(tmp_path)

    assert 1 == done.returncode
    assert done.stdout.startswith("1 error before the first fork\n")
    assert "  app.py:2\n" in done.stdout
    assert "Mend: start it in after_fork" in done.stdout


def test_warnings_fail_only_on_request(tmp_path: Path) -> None:
    """--strict-warnings makes a warning count."""
    (tmp_path / "app.py").write_text("import os\nPIPE = os.pipe()\n" + MAKE_APP)

    assert [0, 1] == [
        check(tmp_path, *options).returncode for options in ([], ["--strict-warnings"])
    ]


def test_what_is_declared_safe_is_information(tmp_path: Path) -> None:
    """A fork_safe block makes an info of an error, and of what C makes inside of it."""
    code = (
        "import socket, tornado_multi\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "with tornado_multi.fork_safe('only the first worker reads'):\n"
        "    client = socket.create_connection(server.getsockname())\n"
    )
    found = [item for item in findings(tmp_path, code) if item["kind"] == "connected-socket"]

    assert [("info", "only the first worker reads")] == [
        (item["word"], item["allowed"]) for item in found
    ]


def test_what_the_settings_allow_is_information(tmp_path: Path) -> None:
    """An entry by line, with its reason; one that matches nothing is pointed out."""
    (tmp_path / "app.py").write_text("import os\nPIPE = os.pipe()\n" + MAKE_APP)
    (tmp_path / "tornado_multi.toml").write_text(
        '[fork_safety]\nallow = ["app.py:2 they take turns", "other.py not any more"]\n'
    )
    answer = json.loads(check(tmp_path, "--json", "--strict-warnings").stdout)

    assert (0, 0) == (answer["errors"], answer["warnings"])
    assert {"they take turns"} == {item["allowed"] for item in answer["findings"]}
    assert ["fork_safety_allow: nothing matches 'other.py' any more; remove it."] == answer["notes"]


def test_what_the_factory_opens_is_shown_on_request(tmp_path: Path) -> None:
    """It is opened in each worker, and no finding; --factory lists it."""
    code = "import os\ndef make_app():\n    global PIPE\n    PIPE = os.pipe()\n    from tornado.web import Application\n    return Application([])\n"
    (tmp_path / "app.py").write_text(code)
    done = check(tmp_path, "--factory")

    assert 0 == done.returncode, done.stderr
    assert "each worker for itself" in done.stdout
    assert "end of a pipe" in done.stdout
    assert "app.py:4" in done.stdout


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("raise ValueError('no database')", 3, "ValueError: no database"),
        ("import sys; sys.exit('not today')", 3, "not today"),
        ("import os; os._exit(9)", 3, "exited with code 9 before it could be audited"),
        ("import os; os.kill(os.getpid(), 9)", 3, "ended by signal 9"),
        ("import threading; threading.Event().wait()", 3, "did not finish within 2 s"),
        ("import nothing_of_that_name", 3, "nothing_of_that_name"),
    ],
)
def test_an_app_that_can_not_be_imported(
    tmp_path: Path, code: str, exit_code: int, said: str
) -> None:
    """The reason is said as serve says it."""
    (tmp_path / "app.py").write_text(code + "\n" + MAKE_APP)
    done = check(tmp_path, "--boot-timeout-s", "2")

    assert exit_code == done.returncode
    assert said in done.stderr
    assert "" == done.stdout
