"""How a service ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.cluster import can_bind
from support.commands import run_command
from support.posting import TimedClient
from support.waiting import eventually, pause

from tornado_multi.control.client import connect
from tornado_multi.control.protocol import Request
from tornado_multi.settings.model import ControlSettings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


def test_term_finishes_the_request_in_progress(cluster: StartCluster) -> None:
    """The response arrives whole and says Connection: close; then the supervisor exits 0."""
    made = cluster(workers=2)
    port = made.port()
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=1.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        made.signal(signal.SIGTERM)
        answer = sock.recv(4096)
        assert answer.endswith(b"done")
        assert b"Connection: close" in answer
        assert sock.recv(1) == b""
    assert made.wait_gone() == 0
    assert can_bind(port)
    assert "1 finished" in made.log()


def test_int_cuts_requests_and_is_quick(cluster: StartCluster) -> None:
    """One INT: leave at once, name what was cut, exit 0."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGINT)
        assert made.wait_gone(within_s=20) == 0
    assert "1 cut (GET hello.Slow)" in made.log()


def test_int_after_term_hurries_a_drain(cluster: StartCluster) -> None:
    """A graceful stop that takes too long for somebody can be cut short."""
    made = cluster(workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGTERM)
        eventually(lambda: made.workers("draining"))
        made.signal(signal.SIGINT)
        assert made.wait_gone(within_s=20) == 0


def test_a_second_int_kills(cluster: StartCluster) -> None:
    """A worker that can't leave is killed by the second INT; the code says so: 128 + 2."""
    made = cluster(workers=2)
    os.kill(made.worker_pids()[0], signal.SIGSTOP)
    made.signal(signal.SIGINT)
    eventually(lambda: "Stopping at once" in made.log())

    def press_again() -> bool:
        made.signal(signal.SIGINT)
        return made.process.poll() is not None

    eventually(press_again, every_s=0.1)
    assert made.wait_gone() == 130
    assert "Killing what is left" in made.log()


def test_a_worker_that_does_not_leave_is_killed_at_its_deadline(cluster: StartCluster) -> None:
    """TERM, drain timeout over, still there: killed, and the exit code is 128 + 15."""
    made = cluster(workers=2, options=["--drain-timeout-s", "0.2"])
    os.kill(made.worker_pids()[0], signal.SIGSTOP)
    made.signal(signal.SIGTERM)

    assert made.wait_gone() == 143
    assert "had not left at its drain deadline" in made.log()


def test_the_drain_deadline_cuts_and_names_what_it_cut(cluster: StartCluster) -> None:
    """A request longer than the drain timeout is cut at the deadline; the service ends with 0."""
    made = cluster(workers=1, options=["--drain-timeout-s", "0.3"])
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGTERM)
        assert made.wait_gone() == 0
    assert "1 cut (GET hello.Slow)" in made.log()


def test_requests_on_idle_connections_are_answered_during_the_drain(
    cluster: StartCluster,
) -> None:
    """An idle keep-alive connection is kept for drain_idle_s: a request on its way is answered."""
    made = cluster(workers=1, options=["--drain-idle-s", "20"])
    with made.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        made.signal(signal.SIGTERM)
        eventually(lambda: made.workers("draining"))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
    assert made.wait_gone() == 0


def test_the_stop_command_waits_until_all_are_gone(cluster: StartCluster) -> None:
    """Stop returns 0 when the process has ended; its JSON says so; then status finds nobody: 5."""
    made = cluster(workers=2)
    done = run_command(made, "stop", "--json")

    assert (0, True) == (done.returncode, json.loads(done.stdout)["gone"]), done.stderr
    assert made.wait_gone(within_s=5) == 0
    assert run_command(made, "status").returncode == 5


def test_the_status_command_prints_a_table_and_json(cluster: StartCluster) -> None:
    """The table has a row per worker; the JSON is the whole status."""
    made = cluster(workers=3)
    table = run_command(made, "status")
    data = json.loads(run_command(made, "status", "--json").stdout)

    assert (0, 3) == (table.returncode, table.stdout.count("ready"))
    assert data["pid"] == made.pid
    assert "control.sock" in data["control"]


def test_signals_with_a_meaning_to_come_do_not_end_the_service(cluster: StartCluster) -> None:
    """USR1 and USR2 leave the supervisor alive."""
    made = cluster(workers=1)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        made.signal(number)
    assert made.get("/")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_timed_clients_around_a_stop_are_served_or_refused(
    cluster: StartCluster, tmp_path: Path, kind: str
) -> None:
    """41 clients, one each 0.1 s, TERM at the tenth: success, then refusal, and nothing else.

    No success after the first refusal, no connection closed without an answer, none reset.
    """
    path = tmp_path / "app.sock"
    made = cluster(workers=2, bind=["127.0.0.1:0" if kind == "tcp" else f"unix:{path}"])
    address = str(path) if kind == "unix" else made.port()
    clients = [TimedClient(address) for _ in range(41)]
    with made.connect() if kind == "tcp" else contextlib.nullcontext() as busy:
        if busy is not None:  # so that the service does not end before the last client
            busy.sendall(b"GET /slow?s=5 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        for number, client in enumerate(clients):
            if number == 10:
                made.signal(signal.SIGTERM)
            client.start()
            pause(0.1)
        for client in clients:
            client.join(30)
        results = [client.result for client in clients]

    assert set(results) == {"success", "refused"}, results
    assert results == sorted(results, reverse=True)
    assert results.count("success") >= 10
    assert made.wait_gone() == 0


def test_an_idle_service_on_a_unix_socket_stops_at_once(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A shut unix listener reads as ready for ever; workers don't take that for a queue."""
    made = cluster(workers=2, bind=[f"unix:{tmp_path / 'app.sock'}"])
    made.signal(signal.SIGTERM)

    assert made.wait_gone(within_s=10) == 0


def test_a_burst_of_connections_at_the_stop_is_served_or_refused(cluster: StartCluster) -> None:
    """Connections that the kernel had queued when TERM came are answered, not reset."""
    made = cluster(workers=1)
    with made.connect() as blocking:
        blocking.sendall(b"GET /block?s=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        queued = [TimedClient(made.port()) for _ in range(50)]
        for client in queued:
            client.start()
        eventually(lambda: all(client.connected for client in queued))
        made.signal(signal.SIGTERM)
        for client in queued:
            client.join(30)

    assert ["success"] * 50 == [client.result for client in queued]
    assert made.wait_gone() == 0


def test_slow_handlers_and_limits_leave_nobody_in_the_queue(cluster: StartCluster) -> None:
    """60 connections, handlers that block for 50 ms, a limit of connections: all are answered."""
    made = cluster(workers=2, options=["--max-connections", "5"])
    clients = [TimedClient(made.port(), "/block?s=0.05") for _ in range(60)]
    for client in clients:
        client.start()
    eventually(lambda: all(client.connected for client in clients))
    made.signal(signal.SIGTERM)
    for client in clients:
        client.join(30)

    assert ["success"] * 60 == [client.result for client in clients]
    assert made.wait_gone() == 0


def test_term_to_the_whole_group_resets_nobody(cluster: StartCluster) -> None:
    """As a service manager sends it: to supervisor, zygote and workers at once."""
    made = cluster(workers=2)
    clients = [TimedClient(made.port()) for _ in range(60)]
    for number, client in enumerate(clients):
        if number == 20:
            os.killpg(made.pid, signal.SIGTERM)
        client.start()
    for client in clients:
        client.join(30)

    assert {client.result for client in clients} <= {"success", "refused"}
    assert made.wait_gone() == 0


def test_a_reader_that_stops_reading_our_log_stops_nothing(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Standard error is a full pipe: status answers, workers are replaced, TERM ends it."""
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    made = cluster(workers=1, log_fd=write_fd)
    os.close(write_fd)
    for _ in range(60):
        assert run_quickly(made, "restart", "0")
    assert made.stop() == 0
    os.close(read_fd)


def run_quickly(made: Cluster, *arguments: str) -> bool:
    """Ask by the control socket itself: sixty commands would take a minute to start."""
    connection = connect(ControlSettings(control=str(made.control)))
    replies = list(connection.ask(Request(arguments[0], {"fork_id": int(arguments[1])})))
    connection.close()
    return replies[-1]["event"] == "done"


def test_a_file_at_the_control_path_is_left_alone(cluster: StartCluster, tmp_path: Path) -> None:
    """A mistyped --control does not cost somebody a file."""
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    made = cluster(ready=False, control=notes)

    assert made.wait_gone() == 111
    assert notes.read_text() == "mine"
