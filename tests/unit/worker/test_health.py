"""What the health paths answer, without a socket."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.httputil import RequestStartLine

from tornado_multi.settings.model import HealthSettings, InstanceSettings, Settings, health_paths
from tornado_multi.worker.health import Health


class FakeConnection:
    """Takes a response."""

    def __init__(self) -> None:
        self.head: Any = None
        self.headers: Any = None
        self.body: bytes | None = None
        self.is_finished = False

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None) -> None:
        self.head, self.headers, self.body = start_line, headers, chunk

    def finish(self) -> None:
        self.is_finished = True


class FakeConnections:
    draining = False


def answer(health: Health, path: str, method: str = "GET") -> FakeConnection | None:
    connection: Any = FakeConnection()
    line = RequestStartLine(method, path, "HTTP/1.1")
    delegate = health.delegate_for(line, connection)
    if delegate is None:
        return None
    delegate.finish()
    assert connection.is_finished
    return connection  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("wants_requests", "draining", "status"),
    [(True, False, 200), (False, False, 503), (True, True, 503), (False, True, 503)],
)
def test_ready_says_no_from_the_first_word_of_an_end_on(
    *, wants_requests: bool, draining: bool, status: int
) -> None:
    """The delay before a drain, and the drain; alive it is all the time."""
    connections: Any = FakeConnections()
    health = Health("/r", "/l", connections)
    health.wants_requests = wants_requests
    connections.draining = draining
    ready, live = answer(health, "/r?x=1"), answer(health, "/l")

    assert ready is not None
    assert live is not None
    assert (status, 200) == (ready.head.code, live.head.code)
    assert str(len(ready.body or b"")) == ready.headers["Content-Length"]


def test_other_paths_are_the_apps() -> None:
    """Also those that only look alike."""
    connections: Any = FakeConnections()
    health = Health("/r", None, connections)

    assert [None, None, None] == [answer(health, path) for path in ("/", "/r/", "/l")]
    assert health.is_asked()
    assert not Health(None, None, connections).is_asked()


def test_a_head_has_the_length_of_what_it_leaves_out() -> None:
    """RFC 9110, 9.3.2; other methods are not for these paths."""
    connections: Any = FakeConnections()
    head = answer(Health("/r", None, connections), "/r", "HEAD")
    post = answer(Health("/r", None, connections), "/r", "POST")

    assert head is not None
    assert (None, "6") == (head.body, head.headers["Content-Length"])
    assert post is not None
    assert (405, "GET, HEAD") == (post.head.code, post.headers["Allow"])


@pytest.mark.parametrize(
    ("given", "instances", "expected"),
    [
        ((None, None), False, (None, None)),
        ((None, None), True, ("/-/ready", "/-/live")),
        (("/r", "off"), False, ("/r", None)),
        (("off", "/l"), True, (None, "/l")),
    ],
)
def test_instances_have_health_paths_unless_they_are_switched_off(
    given: tuple[str | None, str | None],
    *,
    instances: bool,
    expected: tuple[str | None, str | None],
) -> None:
    """With serve it is the other way round: a balancer asks the service, not a worker."""
    settings = Settings(
        app="x:y",
        instances=InstanceSettings(first_port=8001 if instances else None),
        health=HealthSettings(ready_path=given[0], live_path=given[1]),
    )

    assert expected == health_paths(settings)
