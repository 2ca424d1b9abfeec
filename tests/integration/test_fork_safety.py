"""What workers would share by accident: found, named with its line, and made harmless."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import run_command
from support.waiting import eventually

from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

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
    assert "In each worker: nothing can be done" in done.stdout
    assert "Mend: start it in after_fork" in done.stdout
    assert "Kind: thread\n" in done.stdout


def test_a_finding_says_what_the_settings_make_of_it(tmp_path: Path) -> None:
    """With the quarantine a connection is cut off, and without it nothing is done."""
    code = (
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
    )
    fates = [
        next(item["fate"] for item in found if item["kind"] == "connected-socket")
        for found in (
            findings(tmp_path, code),
            findings(tmp_path, code, "--fork-safety-quarantine", "random"),
        )
    ]

    assert ["cut off", "unhealed"] == fates


def test_a_seed_of_numpy_that_is_lost_is_told(tmp_path: Path) -> None:
    """Workers seed it anew; what has had no seed, or is declared safe, is not told so."""
    code = (
        "import numpy as np, tornado_multi\nA = np.random.default_rng(1)\n"
        "B = np.random.default_rng()\nC = np.random.RandomState(5)\nnp.random.seed(7)\n"
        "with tornado_multi.fork_safe('the same draw in all'):\n"
        "    D = np.random.default_rng(2)\n"
    )
    found = [item for item in findings(tmp_path, code) if item["kind"] == "random"]
    lost = [
        item["what"] for item in found if "counts no more" in item["harm"] and not item["allowed"]
    ]

    assert {"info"} == {item["word"] for item in found}
    assert ["Generator", "RandomState"] == sorted(
        what.partition(" ")[0] for what in lost if "of numpy, with a seed" in what
    )
    assert ["numpy.random, the generator that all modules share, with a seed"] == [
        what for what in lost if what.startswith("numpy.random")
    ]
    assert ["shared"] == [item["fate"] for item in found if item["allowed"]]


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


def test_a_resource_that_is_used_at_import_is_no_error(tmp_path: Path) -> None:
    """Each worker makes its own: what the factory has opened at import is information."""
    code = (
        "import socket, tornado_multi\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "@tornado_multi.per_process\ndef client():\n"
        "    return socket.create_connection(server.getsockname())\nclient()\n"
    )
    found = [item for item in findings(tmp_path, code) if item["kind"] == "connected-socket"]

    assert [("info", 5)] == [(item["word"], item["line"]) for item in found]
    assert "each worker makes its own" in found[0]["harm"]


def test_what_the_settings_allow_is_information(tmp_path: Path) -> None:
    """An entry by line, with its reason; one that matches nothing is pointed out."""
    (tmp_path / "app.py").write_text("import os\nPIPE = os.pipe()\n" + MAKE_APP)
    (tmp_path / "tornado_multi.toml").write_text(
        '[fork_safety]\nallow = ["app.py:2 they take turns", "other.py not any more"]\n'
    )
    answer = json.loads(check(tmp_path, "--json", "--strict-warnings").stdout)

    assert (0, 0) == (answer["errors"], answer["warnings"])
    assert {"they take turns"} == {item["allowed"] for item in answer["findings"]}
    assert [True] == ["no finding matches 'other.py'" in note for note in answer["notes"]]


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


# --- served ---------------------------------------------------------------------------------------

SHARING = """
import os, socket, tempfile, weakref
import tornado_multi
from tornado.web import Application, RequestHandler

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
with tornado_multi.fork_safe("a test of what is allowed"):
    allowed = socket.create_connection(server.getsockname())
    allowed_peer, _ = server.accept()
late = []


def before_fork(fork_id):
    if not late:  # opened when the audit is over
        late.append(socket.create_connection(server.getsockname()))
        late.append(server.accept()[0])
    print("alive", client.send(b"z"), peer.recv(1), flush=True)


class Send(RequestHandler):
    def get(self, name):
        sock = {"client": client, "allowed": allowed, "late": late[0] if late else None}[name]
        try:
            self.write(f"sent {sock.send(b'w')}")
        except OSError as error:
            self.write(type(error).__name__)


class Fail(RequestHandler):
    def get(self):
        client.send(b"w")


class Made:
    pass


def make_app():
    made = Made()
    weakref.finalize(made, print, "finalizer of the worker", flush=True)
    directory = tempfile.TemporaryDirectory()
    print("directory", directory.name, flush=True)
    app = Application([("/send/(.+)", Send), ("/fail", Fail)])
    app.kept = made, directory
    return app
"""


FORGETFUL = """
import tornado_multi
from tornado.web import Application, RequestHandler


@tornado_multi.per_process
async def stock():
    return [3]


class Count(RequestHandler):
    async def get(self):
        self.write(str(stock().count(3)))


def make_app():
    return Application([("/", Count)])
"""


def test_inherited_connections_are_dead_ends_and_the_zygotes_live_on(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Also one that was opened after the audit; but not one that is declared safe."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=2, chdir=tmp_path)

    assert [b"BrokenPipeError", b"BrokenPipeError", b"sent 1"] == [
        made.get(f"/send/{name}") for name in ("client", "late", "allowed")
    ]
    victim = made.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: made.output().count("alive 1 b'z'") == 3)


def test_an_error_in_the_log_names_the_line(cluster: StartCluster, tmp_path: Path) -> None:
    """The traceback of a handler that fails on a dead end ends with the sentence."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    url = f"http://127.0.0.1:{made.port()}/fail"
    assert 500 == fetch(url, headers={}, timeout_s=30).status
    eventually(lambda: "@tornado_multi.per_process" in made.log().partition("BrokenPipeError")[2])

    assert f"{tmp_path / 'app.py'}:7" in made.log().partition("BrokenPipeError")[2]


def test_the_first_use_is_told_though_the_app_logs_a_text_alone(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A handler that catches the error and goes on: one warning per worker and connection."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    answers = [made.get("/send/client") for _ in range(3)]
    made.stop()

    assert [b"BrokenPipeError"] * 3 == answers
    said = [line for line in made.log().splitlines() if "is cut off in this one" in line]
    assert 1 == len(said), made.log()
    assert f"was made at {tmp_path / 'app.py'}:7 before the fork" in said[0]


def test_a_forgotten_await_is_explained(cluster: StartCluster, tmp_path: Path) -> None:
    """The traceback of the handler ends with the line as it should be."""
    (tmp_path / "app.py").write_text(FORGETFUL)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    assert 500 == fetch(f"http://127.0.0.1:{made.port()}/", headers={}, timeout_s=30).status
    eventually(lambda: "(await stock()).count" in made.log())

    assert "The resource app.stock is async" in made.log()


@pytest.mark.parametrize(
    "options", [["--fork-safety-quarantine", "none"], ["--fork-safety", "off"]]
)
def test_the_quarantine_can_be_switched_off(
    cluster: StartCluster, tmp_path: Path, options: list[str]
) -> None:
    """Then workers share what they inherit."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=1, chdir=tmp_path, options=options)

    assert b"sent 1" == made.get("/send/client")


def test_what_a_worker_registers_runs_at_its_end(cluster: StartCluster, tmp_path: Path) -> None:
    """Finalizers and temporary directories of a worker are its own."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    directory = made.output().partition("directory ")[2].split()[0]
    assert os.path.isdir(directory)

    assert 0 == made.stop()
    assert "finalizer of the worker" in made.output()
    assert not os.path.exists(directory)


def test_strict_refuses_a_first_start_and_a_reload(cluster: StartCluster, tmp_path: Path) -> None:
    """Exit code 3 with the lines; a reload to such code fails, and the old code serves on."""
    app = tmp_path / "app.py"
    app.write_text(SHARING)
    refused = cluster(
        "app:make_app", ready=False, chdir=tmp_path, options=["--fork-safety", "strict"]
    )
    assert 3 == refused.wait_gone()
    assert "app.py:7" in refused.log()
    app.write_text(MAKE_APP)
    made = cluster("app:make_app", workers=1, chdir=tmp_path, options=["--fork-safety", "strict"])
    app.write_text(SHARING)
    done = run_command(made, "reload")

    assert 1 == done.returncode
    assert "fork_safety=strict" in done.stderr
    assert "app.py:7" in done.stderr
    assert 1 == made.status()["generation"]
    assert "allow it with a reason" in done.stderr


def test_findings_stand_in_the_status_and_once_in_the_log(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A reload of the same code says nothing again; its report counts."""
    (tmp_path / "app.py").write_text(SHARING)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    done = run_command(made, "reload")
    found = made.status()["fork_safety"]

    assert (2, "audit 2 errors") == (found["errors"], "audit 2 errors")
    assert "audit 2 errors" in done.stdout
    assert 2 == done.stdout.count("  error    connected socket")
    assert "  app.py:7\n" in done.stdout
    assert 2 == made.log().count("error: Fork safety: connected socket")
    assert "fork safety: 2 errors" in made.output()
