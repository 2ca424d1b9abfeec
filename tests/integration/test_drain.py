"""The drain: what each kind of connection gets when its worker leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually
from support.websockets import open_websocket, read_close_code

if TYPE_CHECKING:
    import socket

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

CHUNK = bytes(range(256)) * 256


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(1 << 20):
        data += part
    return data


def in_flight(made: Cluster, count: int) -> None:
    eventually(lambda: sum(row["in_flight"] or 0 for row in made.status()["workers"]) == count)


def begin_drain(made: Cluster) -> None:
    made.signal(signal.SIGTERM)
    eventually(lambda: made.workers("draining"))


def test_pipelined_requests_are_answered_in_full(cluster: StartCluster) -> None:
    """Requests that had been read are all answered; only the last answer says Connection: close."""
    made = cluster("streams:make_app", workers=1)
    with made.connect() as sock:
        one = b"GET /?say=%s&s=%s HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(one % (b"first", b"0.5") + one % (b"second", b"0") + one % (b"third", b"0"))
        in_flight(made, 1)
        begin_drain(made)
        answers = read_all(sock)

    assert [True] * 3 == [word in answers for word in (b"first", b"second", b"third")]
    assert 1 == answers.count(b"Connection: close")
    assert answers.index(b"Connection: close") > answers.index(b"second")
    assert made.wait_gone() == 0


def test_an_upload_in_progress_arrives_whole(cluster: StartCluster) -> None:
    """50 MB, half of them sent after the drain began, with the right hash at the end."""
    made = cluster("streams:make_app", workers=1)
    body = os.urandom(1 << 20) * 50
    with made.connect() as sock:
        head = f"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body[: len(body) // 2])
        in_flight(made, 1)
        begin_drain(made)
        sock.sendall(body[len(body) // 2 :])
        answer = read_all(sock)

    assert answer.endswith(hashlib.sha256(body).hexdigest().encode())
    assert made.wait_gone() == 0


def test_a_download_in_progress_arrives_whole(cluster: StartCluster) -> None:
    """50 MB, read by a client that begins to read only when the drain has begun."""
    made = cluster("streams:make_app", workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /download?chunks=800 HTTP/1.1\r\nHost: x\r\n\r\n")
        in_flight(made, 1)
        begin_drain(made)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200")
    assert body == CHUNK * 800
    assert made.wait_gone() == 0


@pytest.mark.parametrize("draining", [False, True])
def test_a_response_to_a_client_that_sent_more_arrives_whole(
    cluster: StartCluster, *, draining: bool
) -> None:
    """2 MB, answered before the body was read: the close lingers, no RST eats the answer."""
    made = cluster("streams:make_app", workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        if draining:
            begin_drain(made)
        sock.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        sock.sendall(b"x" * 1_000_000)
        _, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert body == CHUNK * 32


@pytest.mark.parametrize(("path", "code"), [("/echo", 1001), ("/own", 4001)])
def test_each_websocket_gets_a_close_frame(cluster: StartCluster, path: str, code: int) -> None:
    """1001, or what the handler's own on_drain says; none is cut without a close frame."""
    made = cluster("streams:make_app", workers=2)
    clients = [open_websocket(made.port(), path) for _ in range(20)]
    made.signal(signal.SIGTERM)

    assert [code] * 20 == [read_close_code(client) for client in clients]
    assert made.wait_gone() == 0
    assert "cut (" not in made.log()
    for client in clients:
        client.close()


def test_the_websocket_close_code_is_a_setting(cluster: StartCluster) -> None:
    """drain_websocket_code=1012 says "service restart"."""
    made = cluster("streams:make_app", workers=1, options=["--drain-websocket-code", "1012"])
    with open_websocket(made.port()) as client:
        made.signal(signal.SIGTERM)
        assert read_close_code(client) == 1012


@pytest.mark.parametrize(
    ("kind", "last_words"),
    [("polite", b"data: goodbye\n\n"), ("hook", b"data: goodbye from the hook\n\n"), ("deaf", b"")],
)
def test_an_event_stream_ends_with_its_last_chunk(
    cluster: StartCluster, kind: str, last_words: bytes
) -> None:
    """draining() and on_drain let it say goodbye; a deaf one is ended after drain_streams_s."""
    made = cluster("streams:make_app", workers=1, options=["--drain-streams-s", "0.3"])
    with made.connect() as sock:
        sock.sendall(f"GET /events?kind={kind} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while b"data: hello" not in answer:
            answer += sock.recv(4096)
        made.signal(signal.SIGTERM)
        answer += read_all(sock)

    assert last_words in answer
    assert answer.endswith(b"0\r\n\r\n")
    assert made.wait_gone() == 0
    assert ("1 event stream ended" in made.log()) == (kind == "deaf")
    assert " 0 cut" in made.log()


def test_a_download_without_length_is_cut_rather_than_made_to_look_whole(
    cluster: StartCluster,
) -> None:
    """At the deadline a chunked response that is no event stream ends without its last chunk."""
    made = cluster(
        "streams:make_app",
        workers=1,
        options=["--drain-streams-s", "0.1", "--drain-timeout-s", "0.5"],
    )
    with made.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = sock.recv(4096)
        made.signal(signal.SIGTERM)
        answer += read_all(sock)

    assert not answer.endswith(b"0\r\n\r\n")
    assert made.wait_gone() == 0
    assert "1 cut (GET streams.Endless)" in made.log()


def test_the_drain_report_is_there_for_machines(cluster: StartCluster) -> None:
    """The JSON log carries the report's figures under "drain"."""
    made = cluster(
        "streams:make_app", workers=1, options=["--log-format", "json", "--drain-idle-s", "0"]
    )
    with made.connect() as idle, open_websocket(made.port()) as client:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        made.signal(signal.SIGTERM)
        assert read_close_code(client) == 1001
    assert made.wait_gone() == 0
    records = [json.loads(line) for line in made.log().splitlines()]
    report = next(record["drain"] for record in records if "drain" in record)

    assert (1, 1, 0, []) == (
        report["closed_idle"], report["closed_websockets"], report["cut"], report["cut_handlers"],
    )  # fmt: skip


@pytest.mark.parametrize("begun", [b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_never_becomes_complete_does_not_hold_up_a_stop(
    cluster: StartCluster, begun: bytes
) -> None:
    """A port scanner, or a client that has died in the middle of its headers, is cut after a moment."""
    made = cluster(workers=1, options=["--drain-timeout-s", "30"])
    with made.connect() as sock:
        sock.sendall(begun)
        eventually(lambda: made.worker(0)["connections"] == 1)
        made.signal(signal.SIGTERM)

        assert 0 == made.wait_gone(within_s=10)
        assert "1 cut (headers that never ended)" in made.log()
