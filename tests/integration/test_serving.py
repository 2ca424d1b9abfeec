"""What a running service serves, and what it says of itself."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cluster import REPOSITORY, VICTIMS
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster

pytestmark = pytest.mark.process

STATUS_KEYS = {
    "pid", "name", "version", "mode", "state", "generation", "listeners", "zygotes", "workers",
    "reload", "last_reload", "fork_safety",
}  # fmt: skip
WORKER_KEYS = {
    "pool", "fork_id", "pid", "generation", "state", "requests", "in_flight", "connections",
    "loop_lag_s", "beat_age_s", "route", "pss_bytes", "rss_bytes", "cpu_s", "uptime_s", "restarts",
}  # fmt: skip


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_workers_are_children_of_the_supervisor_that_serve_on_the_chosen_loop(
    cluster: StartCluster, loop: str
) -> None:
    """The import happens once, in the zygote; the factory and the requests in each worker."""
    made = cluster(workers=3, options=["--loop", loop])
    seen = {}

    def all_seen() -> bool:
        who = made.get_json("/who")
        seen[who["fork_id"]] = who
        return set(seen) == {0, 1, 2}

    eventually(all_seen)

    assert {made.pid} == {who["parent_pid"] for who in seen.values()}
    assert {made.zygote_pid()} == {who["imported_in_pid"] for who in seen.values()}
    assert all(who["task_id"] == who["fork_id"] for who in seen.values())
    assert all(who["loop"].startswith(loop) for who in seen.values())
    assert {str(VICTIMS)} == {who["directory"] for who in seen.values()}


@pytest.mark.parametrize(
    "attribute",
    ["application", "make_app_async", "Holder.make", "callback", "delegate"],
)
def test_every_kind_of_app_is_served(cluster: StartCluster, attribute: str) -> None:
    """Application, async factory, dotted factory, request callback and delegate all answer."""
    made = cluster(f"kinds:{attribute}", workers=1)

    assert made.worker_pids() == [int(made.get("/"))]


def test_status_has_its_keys_with_true_figures(cluster: StartCluster) -> None:
    """Requests are counted, not connections; figures that can be known are not null."""
    made = cluster(workers=1)
    with_keep_alive = http.client.HTTPConnection("127.0.0.1", made.port())
    for _ in range(7):
        with_keep_alive.request("GET", "/")
        with_keep_alive.getresponse().read()
    eventually(lambda: made.worker(0)["pss_bytes"])
    eventually(
        lambda: made.worker(0)["in_flight"] == 0
    )  # falls just after the client has its answer
    status = made.status()
    row = status["workers"][0]

    assert set(status) >= STATUS_KEYS
    assert set(row) >= WORKER_KEYS
    assert (7, 1, 0) == (row["requests"], row["connections"], row["in_flight"])
    assert status["requests_total"] == 7
    assert row["route"] is None
    assert [key for key in WORKER_KEYS - {"route"} if row[key] is None] == []
    assert 1_000_000 < row["pss_bytes"] < row["rss_bytes"]
    assert row["beat_age_s"] < 5
    with_keep_alive.close()
    eventually(lambda: made.worker(0)["connections"] == 0)


def test_status_names_the_route_in_progress(cluster: StartCluster) -> None:
    """While a handler works, in_flight and route say so; afterwards the route is null again."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        eventually(lambda: made.worker(0)["route"] == "GET hello.Slow")  # its name comes by message
    eventually(lambda: made.worker(0)["in_flight"] == 0)
    assert made.worker(0)["route"] is None


def test_requests_of_ended_workers_stay_in_the_total(cluster: StartCluster) -> None:
    """When a worker ends, its counter is folded into its fork_id's total."""
    made = cluster(workers=1)
    made.get("/")
    with made.connect() as sock:
        sock.sendall(b"GET /exit?code=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1) == b""
    eventually(lambda: made.workers() and made.worker(0)["restarts"] == 1)

    assert made.status()["requests_total"] == 2
    assert made.worker(0)["requests"] == 0


def test_a_websocket_is_a_connection_but_no_request_in_flight(cluster: StartCluster) -> None:
    """An upgraded connection stays counted as a connection until it closes."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(
            b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in sock.recv(4096)
        eventually(lambda: made.worker(0)["in_flight"] == 0)
        assert made.worker(0)["connections"] == 1
    eventually(lambda: made.worker(0)["connections"] == 0)


def test_several_listeners_of_every_kind(cluster: StartCluster, tmp_path: Path) -> None:
    """tcp4, tcp6, unix with its mode, and an inherited fd are served side by side."""
    path = tmp_path / "app.sock"
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = given.fileno()
        made = cluster(
            workers=1,
            bind=["127.0.0.1:0", "[::1]:0", f"unix:{path}?mode=660", f"fd://{number}"],
            pass_fds=[number],
        )
        given_port = given.getsockname()[1]
    addresses = [item["address"] for item in made.status()["listeners"]]

    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert addresses[1].startswith("http://[::1]:")
    assert addresses[3] == f"http://127.0.0.1:{given_port}"
    targets = [
        (socket.AF_INET, ("127.0.0.1", made.port())),
        (socket.AF_INET6, ("::1", int(addresses[1].rpartition(":")[2]))),
        (socket.AF_UNIX, str(path)),
        (socket.AF_INET, ("127.0.0.1", given_port)),
    ]
    for family, target in targets:
        with socket.socket(family) as sock:
            sock.connect(target)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    assert made.stop() == 0
    assert not path.exists()


def test_the_apps_own_options_are_parsed_once_and_their_callbacks_run_in_each_worker(
    cluster: StartCluster,
) -> None:
    """Arguments after -- reach tornado.options; parse callbacks run after the fork."""
    made = cluster("with_options:make_app", workers=1, app_arguments=["--greeting=moin"])
    answer = made.get_json("/")

    assert answer["greeting"] == "moin"
    assert [answer["pid"]] == answer["called_in"]


def test_wrong_options_of_the_app_are_a_usage_error(cluster: StartCluster) -> None:
    """An unknown option after -- ends with code 2 and its name."""
    made = cluster("with_options:make_app", ready=False, app_arguments=["--greting=moin"])

    assert made.wait_gone() == 2
    assert "greting" in made.log()


@pytest.mark.parametrize("app", ["debug_app:make_app", "debug_app_at_import:application"])
def test_tornados_autoreload_is_switched_off_and_said_once(cluster: StartCluster, app: str) -> None:
    """debug=True starts no autoreload in zygote or workers; one line says so."""
    made = cluster(app, workers=3)

    assert made.get("/") == b"hello"
    assert made.log().count("autoreload") >= 1
    assert made.log().count("switched off") == 1


def test_max_connections_lets_further_ones_wait(cluster: StartCluster) -> None:
    """At its limit a worker stops accepting and says so once; a freed place is used at once."""
    made = cluster(workers=1, options=["--max-connections", "2"])
    held = [made.connect() for _ in range(2)]
    eventually(lambda: made.worker(0)["connections"] == 2)
    with made.connect() as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: "its limit" in made.log())
        assert made.worker(0)["connections"] == 2
        held.pop().close()
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200")
    for sock in held:
        sock.close()
    assert made.log().count("A worker holds") == 1


def test_open_files_are_guarded_and_the_app_keeps_its_own_limit(cluster: StartCluster) -> None:
    """Workers run with the soft limit of old and accept up to 90 % of it; others wait, none fails."""
    made = cluster(workers=1, nofile_soft=60)
    held = [made.connect() for _ in range(60)]
    eventually(lambda: "54 open files, 90 % of its limit" in made.log())
    open_files = len(os.listdir(f"/proc/{made.worker_pids()[0]}/fd"))
    for sock in held:
        sock.close()

    assert open_files == 55
    assert made.get("/")
    assert "can't accept" not in made.log()


def test_a_terminals_ctrl_c_that_arrives_twice_is_one(cluster: StartCluster) -> None:
    """A wrapper that forwards INT to a group that has it already doesn't turn it into a kill."""
    made = cluster(workers=2)
    made.signal(signal.SIGINT)
    made.signal(signal.SIGINT)

    assert made.wait_gone() == 0
    assert "Killing" not in made.log()


def test_idle_and_slow_header_connections_are_closed(cluster: StartCluster) -> None:
    """http.idle_timeout_s closes a silent connection, http.header_timeout_s a dribbling one."""
    made = cluster(
        workers=1, options=["--http.idle-timeout-s", "0.5", "--http.header-timeout-s", "0.5"]
    )
    with made.connect() as silent, made.connect() as dribbling:
        dribbling.sendall(b"GET / HT")
        assert (b"", b"") == (silent.recv(1), dribbling.recv(1))


def test_a_body_over_the_limit_is_refused(cluster: StartCluster) -> None:
    """http.max_body_size_bytes holds; a body at the limit passes."""
    made = cluster(workers=1, options=["--http.max-body-size-bytes", "1000"])
    for size, wanted in ((1000, 200), (1001, 400)):
        connection = http.client.HTTPConnection("127.0.0.1", made.port(), timeout=10)
        connection.request("POST", "/upload", body=b"x" * size)
        assert connection.getresponse().status == wanted
        connection.close()


def test_xheaders_are_believed_only_when_asked(cluster: StartCluster) -> None:
    """--xheaders takes the client's address from the proxy's header."""
    for options, wanted in (([], "127.0.0.1"), (["--xheaders"], "10.9.8.7")):
        made = cluster(workers=1, options=options)
        connection = http.client.HTTPConnection("127.0.0.1", made.port(), timeout=10)
        connection.request("GET", "/who", headers={"X-Real-Ip": "10.9.8.7"})
        assert json.loads(connection.getresponse().read())["remote_ip"] == wanted
        connection.close()


def test_the_service_managers_environment_stays_with_the_supervisor(
    cluster: StartCluster,
) -> None:
    """NOTIFY_SOCKET, LISTEN_* and WATCHDOG_* don't reach zygote and workers."""
    hidden = {"NOTIFY_SOCKET": "/x", "LISTEN_FDS": "0", "LISTEN_PID": "1", "WATCHDOG_USEC": "1"}
    made = cluster(workers=1, environment=hidden | {"SEEN": "yes"})
    names = set(made.get_json("/who")["environment"])

    assert "SEEN" in names
    assert not names & set(hidden)


def test_the_working_directory_keeps_a_symbolic_link(cluster: StartCluster, tmp_path: Path) -> None:
    """The directory is used as typed, so that a release switched by a link is found anew."""
    link = tmp_path / "current"
    link.symlink_to(VICTIMS)
    made = cluster(workers=1, chdir=link)

    who = made.get_json("/who")
    assert (str(link), str(link)) == (who["directory"], who["first_on_path"])


def test_titles_say_who_a_process_is(cluster: StartCluster) -> None:
    """Ps shows role, service or fork_id, and generation."""
    made = cluster(workers=2)

    assert [
        "tornado_multi: supervisor hello",
        "tornado_multi: worker 0 gen 1",
        "tornado_multi: worker 1 gen 1",
        "tornado_multi: zygote gen 1",
    ] == sorted(process.title for process in made.leftovers())


def test_the_console_script_serves_from_the_current_directory(tmp_path: Path) -> None:
    """The installed script finds an app in the current directory without --chdir."""
    (tmp_path / "shop.py").write_text("def make_app():\n    raise RuntimeError('found it')\n")
    script = Path(sys.executable).with_name("tornado-multi")
    import subprocess

    done = subprocess.run(
        [script, "serve", "shop:make_app", "--bind", "127.0.0.1:0", "--control", "c.sock"],
        cwd=tmp_path,
        env={**os.environ, "PWD": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (3, True) == (done.returncode, "found it" in done.stderr)
    assert ["shop.py"] == sorted(path.name for path in tmp_path.iterdir() if path.is_file())


def test_the_demo_app_is_served(cluster: StartCluster) -> None:
    """The demo's page and its static files come from the workers."""
    made = cluster("demo_app:make_app", chdir=REPOSITORY)

    assert b"<html" in made.get("/").lower()
    assert made.get_json("/whoami")["pid"] in made.worker_pids()


def test_json_log_lines_are_json(cluster: StartCluster) -> None:
    """With --log-format json every line on standard error is one object, and stdout is empty."""
    made = cluster(workers=1, options=["--log-format", "json"])
    assert made.stop() == 0
    records = [json.loads(line) for line in made.log().splitlines()]

    assert made.output() == ""
    assert [{"time", "level", "who", "text"} <= set(record) for record in records].count(False) == 0
    assert records[-1]["text"] == "Stopped."


def test_closed_standard_streams_do_no_harm(cluster: StartCluster, tmp_path: Path) -> None:
    """Started without stdin, stdout and stderr: no socket takes their place, requests are served."""
    made = cluster(workers=1, closed_streams=True)
    who = made.get_json("/who")
    for number in (0, 1, 2):
        assert os.readlink(f"/proc/{who['pid']}/fd/{number}") == "/dev/null"


@pytest.mark.parametrize("flags", [["-X", "dev"], ["-W", "error"], ["-O"]])
def test_flags_of_the_interpreter_hold_for_the_app(cluster: StartCluster, flags: list[str]) -> None:
    """The service works in development mode, with warnings as errors, and optimised."""
    made = cluster(workers=2, python_flags=flags)
    assert made.get("/")
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2)
    assert made.stop() == 0
    assert "Warning" not in made.log()
    assert "Traceback" not in made.log()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_request_that_waited_while_the_loop_was_blocked_is_answered(
    cluster: StartCluster, loop: str
) -> None:
    """The sweep for idle connections looks into the kernel before it closes one."""
    made = cluster(workers=1, options=["--http.idle-timeout-s", "1", "--loop", loop])
    held = [made.connect() for _ in range(5)]
    for sock in held:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    held[0].sendall(b"GET /block?s=2 HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: made.worker(0)["route"] == "GET hello.Block")
    for sock in held[1:]:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [sock.recv(4096)[:12] for sock in held]
    for sock in held:
        sock.close()

    assert [b"HTTP/1.1 200"] * 5 == answers
