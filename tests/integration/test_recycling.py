"""Workers replaced after so many requests, so much memory, so much time: nobody notices."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.commands import run_command
from support.load import Load
from support.posting import PostingClient, RawKeepAliveClient
from support.waiting import eventually
from support.websockets import open_websocket, read_close_code

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

FIVE = ["--max-requests", "5"]


def keep_alive_requests(made: Cluster, count: int) -> list[tuple[str, bool]]:
    """Send requests one after another on as few connections as the server allows.

    Returns: of each one, the pid that answered and whether the connection ended.
    """
    answers = []
    connection = None
    for _ in range(count):
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", made.port(), timeout=30)
        connection.request("GET", "/")
        response = connection.getresponse()
        pid = response.read().decode()
        is_last = response.getheader("Connection", "").lower() == "close"
        assert response.status == 200
        answers.append((pid, is_last))
        if is_last:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return answers


def test_fifty_keep_alive_requests_are_answered_by_ten_workers(cluster: StartCluster) -> None:
    """Requests are counted, not connections: five each, none failed, each fifth one the last."""
    made = cluster(workers=1, options=FIVE)
    answers = keep_alive_requests(made, 50)
    pids = [pid for pid, _ in answers]

    assert [5] * 10 == list(Counter(pids).values())
    assert [False, False, False, False, True] * 10 == [is_last for _, is_last in answers]
    assert 0 == made.worker(0)["restarts"]
    eventually(lambda: len(made.status()["workers"]) == 1)
    assert 10 == made.log().count("Replacing it: it has answered 5 requests (max_requests).")
    assert (10, "it has answered 5 requests (max_requests)") == (
        made.worker(0)["recycled"],
        made.worker(0)["last_recycle"],
    )
    assert 10 == made.status()["recycled_total"]


def test_the_successor_is_ready_before_the_old_worker_drains(cluster: StartCluster) -> None:
    """The log has them in this order, each time."""
    made = cluster(workers=1, options=FIVE)
    keep_alive_requests(made, 25)
    eventually(lambda: made.log().count("Drained in") == 5)
    words = re.findall(r"pid=(\d+): (Replacing|Ready|Drained)", made.log())
    for pid in {pid for pid, word in words if word == "Drained"}:
        begun = words.index((pid, "Replacing"))
        ready = next(at for at, (_, word) in enumerate(words) if word == "Ready" and at > begun)

        assert begun < ready < words.index((pid, "Drained"))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_posts_lose_nothing_while_workers_come_and_go(
    cluster: StartCluster, tmp_path: Path, kind: str
) -> None:
    """Eight clients post 1,000 bodies to four workers of 25 requests each: none fails."""
    path = tmp_path / "app.sock"
    bind = ["127.0.0.1:0"] if kind == "tcp" else [f"unix:{path}"]
    made = cluster(workers=4, bind=bind, options=["--max-requests", "25"])
    address = str(path) if kind == "unix" else made.port()
    clients = [PostingClient(address, 125, 0.0) for _ in range(8)]
    for client in clients:
        client.enough.set()
        client.start()
    for client in clients:
        client.join(60)
    results = sum((client.results for client in clients), Counter())

    assert {"success": 1000} == dict(results)
    assert made.log().count("(max_requests)") >= 20
    assert {0} == {row["restarts"] for row in made.workers()}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_clients_that_obey_the_last_response_see_no_error(
    cluster: StartCluster, version: str
) -> None:
    """Also with HTTP/1.0: who is told keep-alive is answered again, who is not told so reconnects."""
    made = cluster(workers=2, options=FIVE)
    client = RawKeepAliveClient(made.port(), version)
    client.start()
    eventually(lambda: client.results["success"] >= 200, within_s=30)
    client.enough.set()
    client.join(30)

    assert {"success"} == set(client.results), client.results


def test_pipelined_requests_beyond_the_limit_are_all_answered(cluster: StartCluster) -> None:
    """Twelve requests in one write to a worker of five: twelve answers, by whom they were read."""
    made = cluster(workers=1, options=FIVE)
    with made.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 12)
        answer = b""
        while data := sock.recv(65536):
            answer += data

    assert 12 == answer.count(b"HTTP/1.1 200 OK")
    assert 1 == answer.count(b"Connection: close")
    assert 1 == len(set(re.findall(rb"\r\n\r\n(\d+)", answer)))


def test_an_idle_connection_is_closed_and_not_reset(cluster: StartCluster) -> None:
    """A client that is silent while its worker is replaced reads an end, and is served afresh."""
    made = cluster(workers=1, options=FIVE)
    with made.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        keep_alive_requests(made, 4)

        assert b"" == idle.recv(4096)
    assert made.get("/")


def test_websockets_are_told_and_count_as_one_request(cluster: StartCluster) -> None:
    """A chat survives until its worker is worn; then it gets a close frame, and reconnects."""
    made = cluster(workers=1, options=FIVE)
    chat = open_websocket(made.port())
    old = made.worker(0)["pid"]
    keep_alive_requests(made, 3)

    assert old == made.worker(0)["pid"]

    keep_alive_requests(made, 1)

    assert 1001 == read_close_code(chat)
    chat.close()
    open_websocket(made.port()).close()
    eventually(lambda: made.workers() and old not in made.worker_pids())


def test_never_more_than_the_surge_are_replaced_at_once(cluster: StartCluster) -> None:
    """Four workers that are worn together, a surge of one: at most five serve or start."""
    made = cluster(workers=4, options=["--max-requests", "50", "--max-surge", "1"])
    most = 0
    with Load(made.port(), 8) as load:

        def seen_enough() -> bool:
            nonlocal most
            rows = made.status()["workers"]
            most = max(most, sum(row["state"] in {"ready", "starting"} for row in rows))
            return made.log().count("Drained in") >= 12

        load.until(seen_enough, within_s=60)

    assert {} == load.errors()
    assert most <= 5


def test_a_limit_never_costs_a_request_when_no_successor_comes(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """The successor does not boot: the worn worker takes connections again after a moment."""
    app = tmp_path / "app"
    app.mkdir()
    source = (
        "from pathlib import Path\nfrom hello import make_app as make\n"
        f"def make_app():\n    assert not Path({str(tmp_path / 'broken')!r}).exists()\n"
        "    return make()\n"
    )
    (app / "release.py").write_text(source)
    (app / "hello.py").write_text((VICTIMS / "hello.py").read_text())
    made = cluster("release:make_app", chdir=app, workers=1, options=FIVE)
    (tmp_path / "broken").touch()
    answers = keep_alive_requests(made, 12)

    assert 1 == len({pid for pid, _ in answers})
    assert [True] * 8 == [is_last for _, is_last in answers][4:]
    (tmp_path / "broken").unlink()
    eventually(lambda: made.workers() and answers[0][0] != str(made.worker(0)["pid"]), within_s=60)


def test_a_worker_that_has_grown_is_replaced(cluster: StartCluster) -> None:
    """By the memory that it measures itself; no request fails meanwhile."""
    made = cluster("grows:make_app", workers=2, options=["--max-memory-bytes", str(150 * 2**20)])
    pids = made.worker_pids()
    grown = int(made.get("/grow?mib=200"))
    with Load(made.port(), 4) as load:
        load.until(lambda: len(made.workers()) == 2 and grown not in made.worker_pids(), 40)

    assert {} == load.errors()
    assert re.search(rf"pid={grown}: Replacing it: it uses \d+ bytes of memory", made.log())
    assert set(pids) - {grown} <= set(made.worker_pids())


def test_old_workers_are_replaced_one_after_another(cluster: StartCluster) -> None:
    """After max_age_s, again and again, without an error."""
    made = cluster(workers=2, options=["--max-age-s", "2"])
    with Load(made.port(), 4) as load:
        load.until(lambda: made.log().count("(max_age_s)") >= 6, within_s=40)

    assert {} == load.errors()
    assert {0} == {row["restarts"] for row in made.workers()}


def test_a_reload_of_workers_that_wear_out_all_the_time_ends(cluster: StartCluster) -> None:
    """It gets to every fork_id and does not wait for the recycling, which never ends."""
    made = cluster(workers=4, options=["--max-requests", "20"])
    with Load(made.port(), 8) as load:
        load.until(lambda: load.successes() > 100)
        reply = run_command(made, "reload")

    assert {} == load.errors()
    assert 0 == reply.returncode, reply.stderr
    assert {2} == {row["generation"] for row in made.workers()}
    assert 2 == made.status()["generation"]


def test_a_limit_below_what_a_new_worker_uses_is_said_and_replaces_nobody(
    cluster: StartCluster,
) -> None:
    """No worker after worker for ever; what they use and what was asked for is told once."""
    made = cluster(workers=2, options=["--max-memory-bytes", str(2**20)])
    pids = made.worker_pids()
    eventually(lambda: "(max_memory_bytes)" in made.log())
    for _ in range(10):  # more beats than it takes
        made.get("/slow?s=0.2")

    assert pids == made.worker_pids()
    assert 1 == made.log().count("(max_memory_bytes)")
