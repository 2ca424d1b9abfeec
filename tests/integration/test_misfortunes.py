"""What people, programs and machines do to a running service: it goes on, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from support import processes
from support.cluster import can_bind
from support.commands import run_command
from support.load import Load
from support.posting import BODY
from support.waiting import eventually, pause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


# --- files that go away, or lie -------------------------------------------------------------------


def test_a_deleted_control_socket_takes_only_the_commands_away(cluster: StartCluster) -> None:
    """It serves, obeys signals, no second supervisor takes its place, and it ends well."""
    made = cluster(workers=2)
    pids = made.worker_pids()
    port = made.port()
    made.control.unlink()
    asked = run_command(made, "status")
    second = cluster(ready=False, control=made.control)

    assert (5, 4) == (asked.returncode, second.wait_gone())
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: made.log().count(": Ready after ") == 1)
    made.signal(signal.SIGHUP)
    eventually(lambda: made.log().count(": Ready after ") == 3)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    made.signal(signal.SIGTERM)
    assert 0 == made.wait_gone()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    assert process.poll() is None, "a bystander was ended"
    process.kill()
    process.wait()


@pytest.mark.parametrize("is_alive", [True, False], ids=["recycled", "dead"])
def test_a_pid_file_of_somebody_else_is_no_obstacle(
    cluster: StartCluster,
    tmp_path: Path,
    bystander: subprocess.Popen[bytes],
    is_alive: bool,  # noqa: FBT001
) -> None:
    """The lock says who serves, not the number: a pid that came again is left alone."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{bystander.pid if is_alive else ended.pid}\n")
    made = cluster(workers=1, options=["--pid-file", str(pid_file)])

    assert made.pid == int(pid_file.read_text())
    assert 0 == made.stop()
    assert not pid_file.exists()


# --- storms of signals ----------------------------------------------------------------------------


def figures(made: Cluster) -> tuple[int, int]:
    """Return how many processes there are, and descriptors of the supervisor."""
    return len(made.leftovers()), len(os.listdir(f"/proc/{made.pid}/fd"))


def settled(made: Cluster, workers: int) -> bool:
    """Tell whether so many workers serve and nobody comes or goes."""
    states = [row["state"] for row in made.status()["workers"]]
    return states == ["ready"] * workers


def test_a_thousand_usr1(cluster: StartCluster, tmp_path: Path) -> None:
    """Log files are reopened as often as it takes; nobody dies and no request fails."""
    made = cluster(workers=2, options=["--log-dir", str(tmp_path / "logs")])
    pids, before = made.worker_pids(), figures(made)
    with Load(made.port(), 4) as load:
        for _ in range(1000):
            made.signal(signal.SIGUSR1)
        begun = load.successes()
        load.until(lambda: load.successes() > begun + 200)
    eventually(lambda: figures(made) == before)

    assert {} == load.errors()
    assert pids == made.worker_pids()


def test_a_thousand_ttin_and_ttou(cluster: StartCluster) -> None:
    """As many up as down, in any order: no request fails; the number of workers is the last asked."""
    made = cluster(workers=2)
    first = made.worker(0)["pid"]
    with Load(made.port(), 4) as load:
        for number in range(1000):
            made.signal(signal.SIGTTIN if number % 2 else signal.SIGTTOU)
            if number % 50 == 0:
                made.status()  # an answer: what was asked before has been taken in
        assert 0 == run_command(made, "scale", "3").returncode
        eventually(lambda: settled(made, 3), within_s=60)

    assert {} == load.errors()
    assert first == made.worker(0)["pid"]
    assert 0 == made.stop()


def test_a_thousand_term(cluster: StartCluster) -> None:
    """One TERM is meant, a thousand mean the same: the request in hand is answered, and code 0."""
    made = cluster(workers=2)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=1.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        for _ in range(1000):
            made.signal(signal.SIGTERM)
        answer = b""
        while part := sock.recv(4096):
            answer += part

    assert answer.endswith(b"done")
    assert 0 == made.wait_gone()


def test_a_thousand_term_to_workers(cluster: StartCluster) -> None:
    """Each worker that is told so leaves well, once, and no request fails."""
    made = cluster(workers=3)
    with Load(made.port(), 6) as load:
        old = made.worker_pids()
        for _ in range(333):
            for pid in old:
                if processes.read_process(pid) is not None:
                    os.kill(pid, signal.SIGTERM)
        load.until(lambda: settled(made, 3) and not set(old) & set(made.worker_pids()))

    assert {} == load.errors()
    assert "error" not in made.log()


# --- clients that misbehave while a worker drains -------------------------------------------------


class Slowloris(threading.Thread):
    """Sends one header byte after another for as long as it may."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        self.is_cut = False

    def run(self) -> None:
        try:
            while True:
                self._sock.sendall(b"x")
                pause(0.02)
        except OSError:
            self.is_cut = True
        self._sock.close()


@pytest.mark.parametrize("what", ["stop", "reload"])
def test_slowloris_clients_hold_up_no_drain(cluster: StartCluster, what: str) -> None:
    """Twenty that never finish a request are cut after a moment; one that works is answered."""
    made = cluster(workers=1, options=["--drain-timeout-s", "60"])
    old = made.worker(0)["pid"]
    slow = [Slowloris(made.port()) for _ in range(20)]
    for client in slow:
        client.start()
    eventually(lambda: made.worker(0)["connections"] >= 20)
    with made.connect() as working:
        working.sendall(b"GET /slow?s=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGTERM if what == "stop" else signal.SIGHUP)

        assert working.recv(4096).endswith(b"done")
    if what == "stop":
        assert 0 == made.wait_gone(within_s=20)
    else:
        eventually(lambda: processes.read_process(old) is None, within_s=20)
    for client in slow:
        client.join(30)

    assert all(client.is_cut for client in slow)
    assert "1 finished" in made.log()


def test_half_open_clients_are_answered_and_hold_up_no_drain(cluster: StartCluster) -> None:
    """Who waits is answered; who has shut its sending side in the middle of a body waits in vain."""
    made = cluster(workers=1, options=["--drain-timeout-s", "60"])
    waiting = [made.connect() for _ in range(5)]
    for sock in waiting:
        sock.sendall(b"GET /slow?s=1.5 HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: made.worker(0)["in_flight"] == 5)
    half = made.connect()
    half.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nonly this")
    eventually(lambda: made.worker(0)["in_flight"] == 6)
    half.shutdown(socket.SHUT_WR)
    made.signal(signal.SIGTERM)
    answers = []
    for sock in waiting:
        with sock:
            answers.append(sock.recv(4096).endswith(b"done"))
    half.close()

    assert [True] * 5 == answers
    assert 0 == made.wait_gone(within_s=20)


# --- apps that do odd things with processes and signals -------------------------------------------


def test_a_worker_that_ignores_term_leaves_when_the_service_says_so(cluster: StartCluster) -> None:
    """The drain is a message: stop and reload work; TERM from outside changes nothing."""
    made = cluster("ignores_term:make_app", workers=2)
    pids = made.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert made.get("/")
    assert pids == made.worker_pids()
    assert 0 == run_command(made, "reload").returncode
    assert not set(pids) & set(made.worker_pids())
    assert 0 == made.stop()


def test_children_of_the_app_that_end_are_nobodys_trouble(cluster: StartCluster) -> None:
    """Five for each request, never waited for: collected at the latest when their worker has gone."""
    made = cluster("forks_children:make_app", workers=1)
    for _ in range(10):
        assert b"done" == made.get("/short")
    old = made.worker(0)["pid"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: made.workers() and made.worker(0)["pid"] != old)
    eventually(lambda: len(made.leftovers()) == 3)  # supervisor, zygote, worker


def test_a_child_that_outlives_its_worker_holds_nothing_up(cluster: StartCluster) -> None:
    """The worker is replaced though the child has copies of its channel and its listeners, and a
    client of the dead worker is not kept waiting; at the stop the port is free.
    """
    made = cluster("forks_children:make_app", workers=1)
    port = made.port()
    child = int(made.get("/fork"))
    with made.connect() as sock:
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        sock.sendall(head.encode() + BODY)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        old = made.worker(0)["pid"]
        os.kill(old, signal.SIGKILL)
        eventually(lambda: made.workers() and made.worker(0)["pid"] != old)

        assert b"" == sock.recv(4096)
    assert made.get("/")
    adopted = processes.read_process(child)
    assert adopted is not None
    assert made.pid == adopted.parent_pid
    made.signal(signal.SIGTERM)
    try:
        assert 0 == made.process.wait(30)
        eventually(lambda: can_bind(port))
    finally:
        os.kill(child, signal.SIGKILL)
    eventually(lambda: not made.leftovers())
