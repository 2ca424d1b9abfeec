"""The apps that an audit must not complain of are real: each is served, and does its work."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from support.clean_apps import CLEAN_APPS, clean_environment
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

    Start = Callable[[str], Cluster]

pytestmark = pytest.mark.process


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path, cluster: StartCluster) -> Start:
    """Start one of the apps with one worker."""

    def start(app: str) -> Cluster:
        environment = clean_environment(request, tmp_path)
        return cluster(app, workers=1, chdir=CLEAN_APPS[app], environment=environment)

    return start


def send(made: Cluster, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port(), timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def post(made: Cluster, path: str, **fields: str) -> tuple[int, bytes]:
    return send(made, "POST", path, urlencode(fields).encode())


def test_the_demo_app(served: Start) -> None:
    """It says who answered."""
    made = served("demo_app:make_app")

    assert made.worker_pids() == [made.get_json("/whoami")["pid"]]


def test_the_chat(served: Start) -> None:
    """A message is there for the next one who asks."""
    made = served("clean.chat:app")
    status, body = post(made, "/new", body="hello")

    assert 200 == status
    assert [json.loads(body)] == made.get_json("/updates")["messages"]


def test_the_blog(served: Start) -> None:
    """What was written is on the page."""
    made = served("clean.blog:make_app")
    status, _ = post(made, "/compose", title="A title", body="A text.")

    assert 302 == status
    assert b"<h2>A title</h2>" in made.get("/")


def test_the_ticker(served: Start) -> None:
    """Quotes come unasked for, and a message is answered."""
    made = served("clean.ticker:make_app")
    with connect(f"ws://127.0.0.1:{made.port()}/quotes") as websocket:
        websocket.send("hello")
        seen: set[str] = set()
        while seen != {"tick", "echo"}:
            seen |= set(json.loads(websocket.recv(timeout=30)))


def test_the_uploads(served: Start) -> None:
    """A body of many pieces is hashed."""
    body = bytes(range(256)) * 4096
    status, answer = send(served("clean.uploads:make_app"), "PUT", "/upload", body)

    assert 200 == status
    assert {"size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} == json.loads(
        answer
    )


def test_the_libraries(served: Start) -> None:
    """Each is used once."""
    assert {"one": 1, "hits": 1, "page": "hello", "sum": 50000.0} == served(
        "clean.libraries:make_app"
    ).get_json("/")
