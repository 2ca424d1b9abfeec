"""Reload: a transaction that loses no request."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import VICTIMS
from support.commands import run_command
from support.load import Load
from support.posting import PostingClient, RawKeepAliveClient, post_through_reloads
from support.waiting import eventually
from support.websockets import open_websocket, read_close_code

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

CHUNK = bytes(range(256)) * 256
APP = """
import json, os
from tornado.web import Application, RequestHandler
VERSION = {version!r}
class Version(RequestHandler):
    def get(self):
        self.write(VERSION)
    def post(self):
        self.write(str(len(self.request.body)))
def make_app():
    return Application([("/", Version), ("/health", Version)])
"""


def write_app(directory: Path, version: str, extra: str = "") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "release.py").write_text(APP.format(version=version) + extra)
    return directory


def reload(made: Cluster) -> dict[str, Any]:
    """Reload by the command and return its report."""
    done = run_command(made, "reload", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (0 if last["report"]["succeeded"] else 1)
    return last["report"]


def generations(made: Cluster) -> set[int]:
    return {row["generation"] for row in made.workers()}


@pytest.mark.parametrize("pause_s", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_posts_through_reloads_all_succeed(
    cluster: StartCluster, tmp_path: Path, kind: str, pause_s: float
) -> None:
    """500 POSTs of 16 KiB from 8 keep-alive clients, at least five reloads meanwhile: none fails.

    The reloads go on in a loop until the clients are done; answers come from several generations.
    """
    path = tmp_path / "app.sock"
    bind = ["127.0.0.1:0"] if kind == "tcp" else [f"unix:{path}"]
    made = cluster(workers=2, bind=bind)
    address = str(path) if kind == "unix" else made.port()
    clients = [PostingClient(address, 63, pause_s) for _ in range(8)]
    results, reloads = post_through_reloads(clients, lambda: reload(made)["succeeded"])

    assert {"success"} == set(results), results
    assert results["success"] >= 500
    assert made.status()["generation"] == reloads + 1


@pytest.mark.parametrize("boot", ["preload", "lazy"])
def test_a_reload_serves_the_new_code(cluster: StartCluster, tmp_path: Path, boot: str) -> None:
    """New code, new generation, every worker replaced, the old zygote gone."""
    app = write_app(tmp_path / "app", "one")
    made = cluster("release:make_app", chdir=app, workers=3, options=["--boot", boot])
    old = made.worker_pids()
    assert made.get("/") == b"one"
    write_app(app, "two!")
    report = reload(made)

    assert (True, 2, 3, 0) == (
        report["succeeded"], report["generation"], report["drained"], report["cut"],
    )  # fmt: skip
    assert made.get("/") == b"two!"
    assert not set(old) & set(made.worker_pids())
    eventually(lambda: len(made.status()["zygotes"]) == 1)


FAULTS = {
    "syntax": ("def broken(:\n", "SyntaxError"),
    "raises": ("raise LookupError('no such thing')\n", "LookupError: no such thing"),
    "exits": ("import sys\nsys.exit('not today')\n", "sys.exit('not today')"),
    "dies": ("import os\nos._exit(9)\n", "exited with code 9"),
    "hangs": ("import threading\nthreading.Event().wait()\n", "did not finish within 3 s"),
    "factory": ("def make_app():\n    raise KeyError('tenant')\n", "KeyError: 'tenant'"),
    "factory hangs": (
        "def make_app():\n    import threading\n    threading.Event().wait()\n",
        "did not finish within 3 s",
    ),
    "unhealthy": (
        (
            "class Version(Version):\n    def get(self):\n        raise ValueError\n"
            "def make_app():\n    return Application([('/', Version), ('/health', Version)])\n"
        ),
        "500",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reload_that_fails_changes_nothing(
    cluster: StartCluster, tmp_path: Path, fault: str
) -> None:
    """The reason is told, pids are the same, no request failed; a good reload works afterwards."""
    app = write_app(tmp_path / "app", "one")
    made = cluster(
        "release:make_app",
        chdir=app,
        workers=2,
        options=["--boot-timeout-s", "3" if "hangs" in fault else "30", "--health-path", "/health"],
    )
    pids = made.worker_pids()
    extra, said = FAULTS[fault]
    with Load(made.port(), 4) as load:
        write_app(app, "broken", extra)
        report = reload(made)
        assert pids == made.worker_pids()
        write_app(app, "two!")
        good = reload(made)

    assert not load.errors()
    assert (False, 1) == (report["succeeded"], report["generation"])
    assert said in f"{report['reason']}\n{report['detail']}"
    assert good["succeeded"]
    assert made.get("/") == b"two!"


def test_a_fault_in_one_worker_rolls_all_back(cluster: StartCluster, tmp_path: Path) -> None:
    """New code that fails in worker 3 of 4 only: four old-generation workers serve afterwards."""
    app = write_app(tmp_path / "app", "one")
    made = cluster("release:make_app", chdir=app, workers=4)
    fault = (
        "import tornado_multi\nmake_good = make_app\ndef make_app():\n"
        "    if tornado_multi.fork_id() == 3:\n        raise OSError('worker 3 only')\n"
        "    return make_good()\n"
    )
    with Load(made.port(), 4) as load:
        write_app(app, "broken", fault)
        report = reload(made)

    assert not load.errors()
    assert (False, True) == (report["succeeded"], "worker 3 only" in report["reason"])
    assert {1} == generations(made)
    assert [0, 1, 2, 3] == sorted(row["fork_id"] for row in made.workers())
    write_app(app, "two!")
    assert reload(made)["succeeded"]
    assert made.get("/") == b"two!"


def test_a_bad_configuration_file_fails_the_reload(cluster: StartCluster, tmp_path: Path) -> None:
    """The file is read anew: a mistake fails the reload, a mended one takes effect."""
    file = tmp_path / "settings.toml"
    file.write_text("drain_timeout_s = 20\n")
    made = cluster(workers=1, options=["--config", str(file)])
    pids = made.worker_pids()
    file.write_text("drain_timeout = 20\n")
    report = reload(made)

    assert (False, pids) == (report["succeeded"], made.worker_pids())
    assert "drain_timeout_s" in report["reason"]
    file.write_text("drain_timeout_s = 20\nbacklog = 77\n[http]\nmax_body_size_bytes = 10\n")
    report = reload(made)
    connection = http.client.HTTPConnection("127.0.0.1", made.port(), timeout=10)
    connection.request("POST", "/upload", body=b"x" * 11)

    assert report["succeeded"]
    assert [True] == ["backlog has changed from 2048 to 77" in note for note in report["notes"]]
    assert connection.getresponse().status == 400
    connection.close()


def test_the_number_of_workers_in_the_file_counts_when_it_changes(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """What scale asked for survives a reload; a new number in the settings takes over."""
    file = tmp_path / "settings.toml"
    file.write_text("workers = 2\n")
    made = cluster(workers=None, options=["--config", str(file)])
    assert run_command(made, "scale", "3").returncode == 0
    assert reload(made)["succeeded"]
    assert len(made.workers()) == 3
    file.write_text("workers = 1\n")
    assert reload(made)["succeeded"]
    eventually(lambda: len(made.status()["workers"]) == 1)


def test_a_release_switched_by_a_link(cluster: StartCluster, tmp_path: Path) -> None:
    """The reload serves the release that the link leads to now; switching back works too."""
    one, two = (write_app(tmp_path / name, name) for name in ("one", "two"))
    link = tmp_path / "current"
    link.symlink_to(one)
    made = cluster("release:make_app", chdir=link, workers=2)
    seen = [made.get("/")]
    for release in (two, one):
        fresh = tmp_path / "fresh"
        fresh.symlink_to(release)
        fresh.replace(link)
        assert reload(made)["succeeded"]
        seen.append(made.get("/"))

    assert [b"one", b"two", b"one"] == seen


def test_a_reload_waits_for_a_slow_request(cluster: StartCluster) -> None:
    """A request in flight gets its full response from the old generation."""
    made = cluster(workers=1, options=["--drain-timeout-s", "20"])
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=3 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        report = reload(made)
        answer = sock.recv(4096)

    assert answer.endswith(b"done")
    assert report["duration_s"] > 2
    assert (1, 0) == (report["drained"], report["cut"])


def test_no_wait_drain_returns_at_the_commit(cluster: StartCluster) -> None:
    """With --no-wait-drain the command is done when every fork_id has a ready new worker."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        done = run_command(made, "reload", "--no-wait-drain", "--json")
        assert done.returncode == 0
        assert made.workers("draining")
        assert {2} == generations(made)


def test_websockets_are_told_and_come_back(cluster: StartCluster) -> None:
    """Twenty websockets through a reload: each gets 1001 and reconnects."""
    made = cluster("streams:make_app", workers=2)
    clients = [open_websocket(made.port()) for _ in range(20)]
    made.signal(signal.SIGHUP)
    codes = []
    for client in clients:
        codes.append(read_close_code(client))
        client.close()
    clients = [open_websocket(made.port()) for _ in range(20)]
    eventually(lambda: made.status()["last_reload"])

    assert [1001] * 20 == codes
    assert made.status()["last_reload"]["cut"] == 0
    for client in clients:
        client.close()


def test_a_storm_of_hups_during_an_upload_and_a_download(cluster: StartCluster) -> None:
    """1,000 HUPs: bytes exact, one generation at the end, as many processes and fds as before."""
    made = cluster("streams:make_app", workers=2)
    fds_before = len(os.listdir(f"/proc/{made.pid}/fd"))
    body = os.urandom(1 << 20) * 50
    with made.connect() as up, made.connect() as down:
        head = f"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        up.sendall(head.encode() + body[:1000])
        down.sendall(b"GET /download?chunks=800 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 2)
        for _ in range(1000):
            made.signal(signal.SIGHUP)
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(_read_all(down)))
        reader.start()
        up.sendall(body[1000:])
        answer = _read_all(up)
        reader.join(60)

    assert answer.endswith(hashlib.sha256(body).hexdigest().encode())
    assert received[0].partition(b"\r\n\r\n")[2] == CHUNK * 800
    eventually(lambda: made.status()["reload"] is None and made.status()["last_reload"])
    eventually(lambda: len(made.leftovers()) == 4)  # supervisor, zygote, two workers
    assert len(generations(made)) == 1
    eventually(lambda: len(os.listdir(f"/proc/{made.pid}/fd")) <= fds_before)


def _read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(1 << 20):
        data += part
    return data


def test_reloads_asked_for_meanwhile_become_one(cluster: StartCluster) -> None:
    """Two commands during a reload are both answered by the one that follows it."""
    made = cluster("streams:make_app", workers=1)
    reports: list[dict[str, Any]] = []
    with made.connect() as sock:
        sock.sendall(b"GET /?s=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGHUP)
        eventually(lambda: made.status()["reload"])
        threads = [threading.Thread(target=lambda: reports.append(reload(made))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert [2, 2] == [report["number"] for report in reports]
    assert made.status()["generation"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_a_reload_ends_well(
    cluster: StartCluster, tmp_path: Path, number: int
) -> None:
    """A reload that hangs in the import does not hold up the stop."""
    app = write_app(tmp_path / "app", "one")
    made = cluster("release:make_app", chdir=app, workers=2)
    write_app(app, "hangs", FAULTS["hangs"][0])
    made.signal(signal.SIGHUP)
    eventually(lambda: (made.status()["reload"] or {}).get("step") == "importing")
    made.signal(number)

    assert made.wait_gone() == 0


def test_a_hup_during_the_boot_is_a_reload_after_it(cluster: StartCluster) -> None:
    """HUP before the service is ready is remembered."""
    made = cluster("slow_import:make_app", workers=1, ready=False)
    eventually(lambda: any("importing" in item.title for item in made.leftovers()))
    made.signal(signal.SIGHUP)
    made.wait_ready()
    eventually(lambda: made.status()["last_reload"])
    assert made.status()["generation"] == 2


def test_the_loss_of_either_zygote_during_a_reload(cluster: StartCluster, tmp_path: Path) -> None:
    """The new zygote killed while it imports: the reload fails and the old generation serves on.

    The old zygote killed during the reload: the reload goes on.
    """
    app = write_app(tmp_path / "app", "one")
    made = cluster("release:make_app", chdir=app, workers=2)
    write_app(app, "hangs", FAULTS["hangs"][0])
    made.signal(signal.SIGHUP)
    importing = eventually(
        lambda: [item for item in made.status()["zygotes"] if item["state"] == "importing"]
    )
    os.kill(importing[0]["pid"], signal.SIGKILL)
    eventually(lambda: made.status()["last_reload"])
    assert not made.status()["last_reload"]["succeeded"]
    assert made.get("/") == b"one"

    write_app(app, "two", "import time\ntime.sleep(1)\n")
    old = made.zygote_pid()
    made.signal(signal.SIGHUP)
    eventually(lambda: (made.status()["reload"] or {}).get("step") == "importing")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: made.status()["last_reload"]["number"] == 2)
    assert made.status()["last_reload"]["succeeded"]
    assert made.get("/") == b"two"


def test_files_watched_for_development(cluster: StartCluster, tmp_path: Path) -> None:
    """With --reload-on-change a saved file is a reload; a mistake is shown and waited out."""
    app = write_app(tmp_path / "app", "one")
    made = cluster("release:make_app", chdir=app, workers=2, options=["--reload-on-change"])
    eventually(lambda: "Watching" in made.log())
    write_app(app, "broken", FAULTS["syntax"][0])
    eventually(lambda: "SyntaxError" in made.log())
    assert made.get("/") == b"one"
    write_app(app, "two!")
    eventually(lambda: made.get("/") == b"two!")


@pytest.mark.parametrize("command", [["scale", "1"], ["scale", "6"], ["restart", "0"]])
def test_scale_and_restart_under_load_fail_no_request(
    cluster: StartCluster, command: list[str]
) -> None:
    """The command returns when it is so; no client sees an error."""
    made = cluster(workers=3)
    before = made.worker_pids()
    with Load(made.port(), 6) as load:
        done = run_command(made, *command)
        mark = load.successes()
        load.until(lambda: load.successes() > mark + 100)

    assert (0, Counter()) == (done.returncode, load.errors()), done.stderr
    if command[0] == "scale":
        assert int(command[1]) == len(made.workers()) == len(made.status()["workers"])
    else:
        assert before[1:] == made.worker_pids()[1:]
        assert before[0] != made.worker_pids()[0]


def test_ttin_and_ttou_change_the_number_and_reload_keeps_it(cluster: StartCluster) -> None:
    """TTIN adds a worker, TTOU takes one away, never the last."""
    made = cluster(workers=1)
    made.signal(signal.SIGTTIN)
    eventually(lambda: len(made.workers()) == 2)
    assert reload(made)["succeeded"]
    assert len(made.workers()) == 2
    for _ in range(3):
        made.signal(signal.SIGTTOU)
    eventually(lambda: len(made.status()["workers"]) == 1)
    assert made.get("/")


def test_wrong_commands_are_refused_with_the_reason(cluster: StartCluster) -> None:
    """Scale 0, restart of nobody: exit 1 and a sentence."""
    made = cluster(workers=1)
    zero, nobody = run_command(made, "scale", "0"), run_command(made, "restart", "7")

    assert (1, 1) == (zero.returncode, nobody.returncode)
    assert "1..2048" in zero.stderr
    assert "fork_ids are 0..0" in nobody.stderr


def test_stacks_show_threads_and_tasks_also_of_a_blocked_worker(cluster: StartCluster) -> None:
    """A blocked worker's threads are shown with the line that blocks; its tasks too, if it sleeps."""
    made = cluster(workers=2)
    with made.connect() as sock:
        sock.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        shown = json.loads(run_command(made, "stacks", "--json").stdout)["stacks"]
        text = run_command(made, "stacks").stdout
    handler = re.compile(r"hello\.py\", line \d+ in get")
    blocked = [worker for worker in shown if handler.search(worker["threads"])]

    assert (2, 1) == (len(shown), len(blocked))
    assert all("in _live" in worker["tasks"] for worker in shown)
    assert "_in_steps" in blocked[0]["tasks"]
    assert VICTIMS.name in text


def test_stacks_follow_an_async_handler_to_where_it_waits(cluster: StartCluster) -> None:
    """The app's own line is shown, not only Tornado's that awaits it."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        text = run_command(made, "stacks", "0").stdout

    assert re.search(r"hello\.py\", line \d+, in get", text)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_keep_alive_clients_of_either_version_lose_nothing(
    cluster: StartCluster, version: str
) -> None:
    """A client is told to close, or its next request is answered: also with HTTP/1.0."""
    made = cluster(workers=2)
    client = RawKeepAliveClient(made.port(), version)
    client.start()
    for _ in range(5):
        assert reload(made)["succeeded"]
    client.enough.set()
    client.join(30)

    assert {"success"} == set(client.results), client.results


def test_whatever_the_settings_file_holds_fails_one_reload_only(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A file that breaks the parser itself is a failed reload; the mended one is read."""
    file = tmp_path / "settings.toml"
    file.write_text("drain_timeout_s = 20\n")
    made = cluster(workers=1, options=["--config", str(file)])
    file.write_text("a = " + "[" * 5000)
    assert not reload(made)["succeeded"]
    file.write_text("drain_timeout_s = 20\n")
    assert reload(made)["succeeded"]


@pytest.mark.parametrize(
    ("kind", "last_words"),
    [("polite", b"data: goodbye\n\n"), ("hook", b"data: goodbye from the hook\n\n")],
)
def test_an_event_stream_through_a_reload_is_exact(
    cluster: StartCluster, kind: str, last_words: bytes
) -> None:
    """Its client gets every byte and a proper end, then connects to the new generation."""
    made = cluster("streams:make_app", workers=1)
    with made.connect() as sock:
        sock.sendall(f"GET /events?kind={kind} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        assert reload(made)["cut"] == 0
        _, _, body = _read_all(sock).partition(b"\r\n\r\n")
    hello = b"data: hello\n\n"
    chunks = [b"%x\r\n%s\r\n" % (len(words), words) for words in (hello, last_words)]

    assert b"".join(chunks) + b"0\r\n\r\n" == body
    assert made.get("/")
