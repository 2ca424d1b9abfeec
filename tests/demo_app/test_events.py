"""The event stream: its format, its bounds, its two ends."""

import asyncio
import json
import os

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.tcpclient import TCPClient

from demo_app.events import EventsHandler, render_event


def test_an_event_is_three_lines_and_an_empty_one() -> None:
    """Fields end with a line feed, and the event with an empty line."""
    assert "id: 7\nevent: tick\ndata: {}\n\n" == render_event(7, "{}")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.gen_test
async def test_the_stream_ends_after_count_events(
    http_client: AsyncHTTPClient, base_url: str, count: int
) -> None:
    """Exactly *count* events come, numbered from 1, each with the process that sent it."""
    response = await http_client.fetch(f"{base_url}/events?interval_ms=10&count={count}")

    who = {"pid": os.getpid(), "fork_id": None}
    expected = "".join(
        render_event(number, json.dumps({"number": number, **who}))
        for number in range(1, count + 1)
    )

    assert expected == response.body.decode()


@pytest.mark.gen_test
async def test_nobody_on_the_way_keeps_or_gathers_events(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """The headers make it an event stream, and ask caches and nginx to keep out of the way."""
    response = await http_client.fetch(f"{base_url}/events?interval_ms=10&count=1")

    assert "text/event-stream" == response.headers["Content-Type"]
    assert "no-store" == response.headers["Cache-Control"]
    assert "no" == response.headers["X-Accel-Buffering"]


@pytest.mark.gen_test
async def test_events_are_an_interval_apart(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Each event is sent on its own, no sooner than the interval after the one before."""
    loop = asyncio.get_running_loop()
    arrivals_s: list[float] = []
    sent_s = loop.time()

    await http_client.fetch(
        f"{base_url}/events?interval_ms=30&count=3",
        streaming_callback=lambda _: arrivals_s.append(loop.time()),
    )

    assert 3 == len(arrivals_s)
    # Only the sum is certain: one arrival may be noticed late, and the next one in time.
    assert arrivals_s[-1] - sent_s >= 2 * 0.030


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("interval_ms=9", "must be an integer from 10 to 60000"),
        ("interval_ms=60001", "must be an integer from 10 to 60000"),
        ("interval_ms=1.5", "must be an integer from 10 to 60000"),
        ("interval_ms=", "must be an integer from 10 to 60000"),
        ("count=0", "must be an integer from 1 to 1000000"),
        ("count=-1", "must be an integer from 1 to 1000000"),
        ("count=x", "must be an integer from 1 to 1000000"),
    ],
)
@pytest.mark.gen_test
async def test_interval_and_count_have_bounds(
    http_client: AsyncHTTPClient, base_url: str, query: str, complaint: str
) -> None:
    """A wrong number is a plain 400, not a stream."""
    response = await http_client.fetch(f"{base_url}/events?{query}", raise_error=False)

    assert 400 == response.code
    assert "text/html; charset=UTF-8" == response.headers["Content-Type"]
    assert complaint in response.body.decode()


@pytest.mark.usefixtures("http_server")
@pytest.mark.gen_test
async def test_an_endless_stream_ends_when_the_client_leaves(
    http_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler finishes as soon as the client is gone, long before its next event is due."""
    finished = asyncio.Event()
    monkeypatch.setattr(EventsHandler, "on_finish", lambda _handler: finished.set())
    stream = await TCPClient().connect("127.0.0.1", http_port)
    await stream.write(b"GET /events?interval_ms=60000 HTTP/1.1\r\nHost: demo\r\n\r\n")
    await stream.read_until(b"data: ")
    assert not finished.is_set()

    stream.close()

    await finished.wait()
