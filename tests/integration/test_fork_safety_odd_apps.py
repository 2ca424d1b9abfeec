"""Fork safety with apps that do what nobody expects: each is audited, and none is shared silently."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import run_command
from support.processes import children
from support.waiting import eventually

from tornado_multi.process.linux import become_child_subreaper
from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

MAKE_APP = """
def make_app():
    from tornado.web import Application
    return Application([])
"""
RUNNING_THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def findings(directory: Path, code: str) -> list[dict[str, Any]]:
    """Return what ``check`` finds in an app with this code at import."""
    (directory / "app.py").write_text(code + MAKE_APP)
    done = run_check(directory, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def run_check(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``check`` for the module ``app`` of a directory; its own standard error stays ours."""
    return subprocess.run(
        [sys.executable, "-m", "tornado_multi", "check", "app:make_app", *options],
        cwd=directory, stdout=subprocess.PIPE, text=True, timeout=100, check=False,
    )  # fmt: skip


@contextlib.contextmanager
def orphans_collected() -> Iterator[None]:
    """Wait for the processes that an app has forked and left: they fall to this process."""
    become_child_subreaper()
    known = {child.pid for child in children(os.getpid())}

    def collect() -> bool:
        left = [child.pid for child in children(os.getpid()) if child.pid not in known]
        for pid in left:
            os.waitpid(pid, os.WNOHANG)
        return not left

    yield
    eventually(collect)


# --- what raises when it is looked at -------------------------------------------------------------

RAISING = {
    "descriptor": (
        "import socket\nclass Raising(socket.socket):\n"
        "    @property\n    def fileno(self): raise RuntimeError('not now')\nkept = Raising()\n"
    ),
    "event loop": "import asyncio\nclass Bare(asyncio.AbstractEventLoop): pass\nkept = Bare()\n",
    "class without a hash": (
        "class Meta(type):\n    def __eq__(cls, other): return cls is other\n"
        "class Kind(metaclass=Meta): pass\nkept = Kind()\n"
    ),
    "class without a name": (
        "class Meta(type):\n    @property\n    def __module__(cls): raise RuntimeError('not now')\n"
        "class Kind(metaclass=Meta): pass\nkept = Kind()\n"
    ),
    "lazy proxy": (
        "class Proxy:\n    @property\n    def __class__(self): raise RuntimeError('no request')\n"
        "kept = [Proxy()]\n"
    ),
    "log file in memory": (
        "import io, logging\nclass Handler(logging.FileHandler):\n"
        "    def _open(self): return io.StringIO()\nkept = Handler('x.log')\n"
    ),
    "generator without a hash": (
        "import random\nclass Dice(random.Random):\n"
        "    def __eq__(self, other): return self is other\nkept = Dice(3)\n"
    ),
    "removed directory": (
        "import os, socket, sqlite3, tempfile\nhome = os.getcwd()\ndirectory = tempfile.mkdtemp()\n"
        "os.chdir(directory)\nos.rmdir(directory)\nkept = sqlite3.connect(':memory:')\n"
        "also = socket.socket()\nos.chdir(home)\n"
    ),
    "pool without threads": (
        "from concurrent.futures import ThreadPoolExecutor\nclass Pool(ThreadPoolExecutor):\n"
        "    def __init__(self): pass\nkept = Pool()\n"
    ),
}


@pytest.mark.parametrize("name", RAISING)
def test_an_object_that_raises_does_not_end_the_audit(tmp_path: Path, name: str) -> None:
    """What else there is is found all the same, and the app is served."""
    code = RAISING[name] + "import threading\n" + RUNNING_THREAD
    found = findings(tmp_path, code)

    assert [len(code.splitlines())] == [
        item["line"] for item in found if item["kind"] == "thread" and item["file"]
    ]
    assert {"thread"} == {item["kind"] for item in found if item["word"] == "error"}


def test_what_could_not_be_looked_at_is_a_warning(tmp_path: Path) -> None:
    """It names the class and the error."""
    found = findings(tmp_path, RAISING["event loop"])

    assert [("warning", "an object of app.Bare can't be looked at: NotImplementedError")] == [
        (item["word"], item["what"]) for item in found
    ]


def test_a_frozen_heap_is_looked_at(tmp_path: Path) -> None:
    """An app that calls gc.freeze by itself hides nothing."""
    code = "import gc, sqlite3\nkept = sqlite3.connect('f.db')\ngc.freeze()\n"

    assert [("sqlite", 2)] == [(item["kind"], item["line"]) for item in findings(tmp_path, code)]


# --- what is read as something else ---------------------------------------------------------------


def test_names_can_not_forge_findings(tmp_path: Path) -> None:
    """Line ends, escapes and undecodable bytes of names and paths are printed as such."""
    code = (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True,\n"
        "    name='a\\nerror    forged\\x1b[31m').start()\n"
        "kept = open(b'na\\xffme\\n.txt', 'w')\n"
    )
    (tmp_path / "app.py").write_text(code + MAKE_APP)
    printed = run_check(tmp_path).stdout
    as_json = json.loads(run_check(tmp_path, "--json").stdout)

    assert r'thread "a\nerror    forged\x1b[31m" is running' in printed
    assert r"/na\udcffme\n.txt, opened for writing" in printed
    assert 2 == len(as_json["findings"])


def test_a_connection_under_the_number_of_a_stream_is_found(tmp_path: Path) -> None:
    """An app that closes its standard input gets 0 for what it opens next."""
    code = (
        "import os, socket\nserver = socket.create_server(('127.0.0.1', 0))\nos.close(0)\n"
        "client = socket.create_connection(server.getsockname())\nassert client.fileno() == 0\n"
    )
    found = findings(tmp_path, code)

    assert [("error", 4)] == [
        (item["word"], item["line"]) for item in found if item["kind"] == "connected-socket"
    ]


def test_a_connection_under_way_is_found(tmp_path: Path) -> None:
    """The peer may answer after the audit; the workers would share the connection then."""
    code = (
        "import socket\nserver = socket.socket()\nserver.bind(('127.0.0.1', 0))\nserver.listen(0)\n"
        "clients = [socket.socket() for _ in range(4)]\n"
        "for client in clients:  # more than the queue takes\n    client.setblocking(False)\n"
        "    client.connect_ex(server.getsockname())\n"
    )
    found = findings(tmp_path, code)
    states = [item["what"].split()[0] for item in found if item["word"] == "error"]

    assert 4 == len(states)
    assert "connecting" in states


# --- what the app does to the process -------------------------------------------------------------

COMING_BACK = "import os\nos.fork()\n"
LIVING_ON = "import os\nif os.fork() == 0:\n    os.open('gate', os.O_RDONLY)\n    os._exit(0)\n"


def test_check_does_not_wait_for_the_children_of_an_app(tmp_path: Path) -> None:
    """A child keeps what it has inherited open, also the way to check."""
    (tmp_path / "app.py").write_text(LIVING_ON + MAKE_APP)
    os.mkfifo(tmp_path / "gate")
    with orphans_collected():
        done = run_check(tmp_path, "--json", "--boot-timeout-s", "10")
        os.close(os.open(tmp_path / "gate", os.O_WRONLY))  # the child ends

    assert ["child-process"] == [item["kind"] for item in json.loads(done.stdout)["findings"]]


def test_a_process_that_the_app_forks_does_not_come_back_from_the_import(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """It would be a second zygote; it ends with a sentence, check says so, and serve serves."""
    with orphans_collected():
        found = findings(tmp_path, COMING_BACK)
    made = cluster("app:make_app", workers=2, chdir=tmp_path)

    assert ["child-process"] == [item["kind"] for item in found]
    assert 1 == made.log().count("app has forked while it was imported")


def test_an_app_that_becomes_a_daemon_is_told_from_one_that_was_audited(tmp_path: Path) -> None:
    """The process that was to be audited has ended."""
    (tmp_path / "app.py").write_text("import os\nif os.fork():\n    os._exit(0)\n" + MAKE_APP)
    with orphans_collected():
        done = run_check(tmp_path)

    assert 3 == done.returncode


def test_check_ends_where_the_app_has_no_standard_output(tmp_path: Path) -> None:
    """Neither a missing stream nor a thread that goes on keeps it."""
    code = (
        "import sys, threading\nsys.stdout = None\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
    )

    assert ["thread"] == [item["kind"] for item in findings(tmp_path, code)]


# --- served ---------------------------------------------------------------------------------------

LATE = """
import socket
from tornado.web import Application, RequestHandler

server = socket.create_server(("127.0.0.1", 0))
client = socket.socket()


def before_fork(fork_id):
    if fork_id == 0:
        client.connect(server.getsockname())


class Send(RequestHandler):
    def get(self):
        try:
            self.write(f"sent {client.send(b'w')}")
        except OSError as error:
            self.write(type(error).__name__)


def make_app():
    return Application([("/", Send)])
"""


def test_a_socket_that_is_connected_after_the_audit_is_a_dead_end(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """It was there and harmless when the audit looked at it."""
    (tmp_path / "app.py").write_text(LATE)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)

    assert b"BrokenPipeError" == made.get("/")


ALIKE = """
import socket
from tornado.web import Application, RequestHandler

server = socket.socket(socket.AF_UNIX)
server.bind("x.sock")
server.listen()
one = socket.socket(socket.AF_UNIX)
other = socket.socket(socket.AF_UNIX)
one.connect("x.sock")
other.connect("x.sock")


class Send(RequestHandler):
    def get(self, name):
        try:
            self.write(f"sent {globals()[name].send(b'w')}")
        except OSError as error:
            self.write(type(error).__name__)


def make_app():
    return Application([("/(.+)", Send)])
"""


def test_what_is_allowed_by_its_line_allows_nothing_that_is_called_alike(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Two connections to one address: only the one of the line that is named is shared."""
    (tmp_path / "app.py").write_text(ALIKE)
    options = ["--fork-safety-allow", "app.py:8 a test"]
    made = cluster("app:make_app", workers=1, chdir=tmp_path, options=options)

    assert [b"sent 1", b"BrokenPipeError"] == [made.get("/one"), made.get("/other")]


PROXY = """
import socket
from tornado.web import Application, RequestHandler

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())


class Proxy:
    def __getattribute__(self, name):
        raise RuntimeError("there is no request")


class Fail(RequestHandler):
    def get(self):
        proxy = Proxy()
        client.send(proxy and b"w")


def make_app():
    return Application([("/", Fail)])
"""


def test_an_error_is_logged_whatever_stands_in_its_frames(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A proxy that has nothing to stand for raises when it is asked for its parts."""
    (tmp_path / "app.py").write_text(PROXY)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    response = fetch(f"http://127.0.0.1:{made.port()}/", headers={}, timeout_s=30)
    eventually(lambda: "BrokenPipeError" in made.log())

    assert 500 == response.status
    eventually(lambda: "@tornado_multi.per_process" in made.log().partition("BrokenPipeError")[2])


def test_more_findings_than_a_message_takes(cluster: StartCluster, tmp_path: Path) -> None:
    """The worst are told, the rest is counted, and the service starts."""
    code = (
        "import os\nname = '\\u65e5' * 80\nos.makedirs(f'{name}/{name}', exist_ok=True)\n"
        "kept = [open(f'{name}/{name}/{number}-{name[:70]}', 'w') for number in range(200)]\n"
    )
    (tmp_path / "app.py").write_text(code + MAKE_APP)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    safety = made.status()["fork_safety"]

    assert 200 == safety["warnings"] == len(safety["findings"]) + safety["omitted"]


STAND_INS = """
import os, select, threading
from tornado.web import Application, RequestHandler

class Which(RequestHandler):
    def get(self):
        calls = os.pipe, select.epoll, threading.Thread.start
        self.write(" ".join(call.__module__ for call in calls) + f" {type(os.pipe).__name__}")


def make_app():
    return Application([("/", Which)])
"""


@pytest.mark.parametrize("boot", ["preload", "lazy"])
def test_workers_record_nothing(cluster: StartCluster, tmp_path: Path, boot: str) -> None:
    """The stand-ins are taken away in workers, however these have loaded the app."""
    (tmp_path / "app.py").write_text(STAND_INS)
    made = cluster("app:make_app", workers=1, chdir=tmp_path, options=["--boot", boot])

    assert b"posix select threading builtin_function_or_method" == made.get("/")


def test_a_reload_with_other_findings_says_them(cluster: StartCluster, tmp_path: Path) -> None:
    """The names in them stay one line of the log."""
    app = tmp_path / "app.py"
    app.write_text(MAKE_APP)
    made = cluster("app:make_app", workers=1, chdir=tmp_path)
    name = "a\\n1999-12-31 10:00:00.000000+00:00 CRITICAL supervisor pid=1: forged"
    thread = (
        f"threading.Thread(target=threading.Event().wait, name='{name}', daemon=True).start()\n"
    )
    app.write_text("import threading\n" + thread + MAKE_APP)

    assert 0 == run_command(made, "reload").returncode
    assert "forged" in made.log()
    assert not [line for line in made.log().splitlines() if line.startswith("1999-12-31 10:00")]


TIMEOUT = """
import gc, os, socket
from tornado.web import Application, RequestHandler
import tornado_multi

before = socket.socketpair()
with tornado_multi.fork_safe("a test of the zygote's own connection"):
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
socket.setdefaulttimeout(30)


class Look(RequestHandler):
    def get(self):
        gc.unfreeze()
        inherited = [os.get_blocking(sock.fileno()) for sock in (*before, server, client)]
        sockets = [thing for thing in gc.get_objects() if type(thing) is socket.socket]
        listening = [
            sock.gettimeout()
            for sock in sockets
            if sock is not server
            and sock.fileno() >= 0
            and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        ]
        self.write(f"{inherited} {listening}")


def make_app():
    return Application([("/", Look)])
"""


def test_a_default_timeout_of_the_app_is_not_that_of_our_sockets(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Blocking sockets stay so in the audit, a lost race for a connection blocks no loop, and
    workers can be replaced.
    """
    (tmp_path / "app.py").write_text(TIMEOUT)
    made = cluster("app:make_app", workers=2, chdir=tmp_path)
    restarted = run_command(made, "restart", "0")
    reloaded = run_command(made, "reload")

    assert (0, 0) == (restarted.returncode, reloaded.returncode)
    assert b"[True, True, True, True] [0.0]" == made.get("/")


FINALIZED = """
import weakref
from tornado.web import Application


class Temporary:
    def __del__(self):
        print("destroyed", flush=True)


class Owner:
    pass


owner = Owner()
weakref.finalize(owner, print, Temporary())


def make_app():
    return Application([])
"""


def test_what_a_finalizer_holds_on_to_is_not_destroyed_in_workers(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """It belongs to the zygote, whose file or session its end may be."""
    (tmp_path / "app.py").write_text(FINALIZED)
    made = cluster("app:make_app", workers=2, chdir=tmp_path)
    made.stop()

    assert "destroyed" not in made.output()
