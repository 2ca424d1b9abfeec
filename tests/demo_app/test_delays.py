"""Being late, politely and rudely."""

import asyncio
import json
import os
import time
from itertools import pairwise

import pytest
from tornado.httpclient import AsyncHTTPClient

# The plugin asks for the app late; named here, it is known to parametrize, and with it "debug".
pytestmark = pytest.mark.usefixtures("app")

in_debug = pytest.mark.parametrize("debug", [True])


@pytest.mark.gen_test
async def test_a_late_answer_says_how_late(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The answer repeats the seconds it was asked to wait."""
    response = await http_client.fetch(f"{base_url}/slow?seconds=0.01")

    expected = {"slept_s": 0.01, "pid": os.getpid(), "fork_id": None}

    assert expected == json.loads(response.body)


@pytest.mark.gen_test
async def test_others_are_served_meanwhile(http_client: AsyncHTTPClient, base_url: str) -> None:
    """A request that sleeps does not hold up the next one."""
    slow = asyncio.ensure_future(http_client.fetch(f"{base_url}/slow?seconds=60"))

    response = await http_client.fetch(f"{base_url}/whoami")

    assert 200 == response.code
    assert not slow.done()


@in_debug
@pytest.mark.parametrize("path", ["/slow", "/block"])
@pytest.mark.parametrize("seconds", ["-1", "60.1", "nan", "inf", "soon"])
@pytest.mark.gen_test
async def test_the_seconds_have_bounds(
    http_client: AsyncHTTPClient, base_url: str, path: str, seconds: str
) -> None:
    """Anything but 0 to 60 seconds is refused."""
    response = await http_client.fetch(f"{base_url}{path}?seconds={seconds}", raise_error=False)

    assert 400 == response.code
    assert "must be a number from 0.0 to 60.0" in response.body.decode()


@pytest.mark.gen_test
async def test_without_debug_nothing_blocks(http_client: AsyncHTTPClient, base_url: str) -> None:
    """/block is not mounted unless debug is on."""
    response = await http_client.fetch(f"{base_url}/block?seconds=0", raise_error=False)

    assert 404 == response.code


@in_debug
@pytest.mark.gen_test
async def test_with_debug_block_stops_the_loop(http_client: AsyncHTTPClient, base_url: str) -> None:
    """While /block runs, no other callback of the loop does."""
    loop = asyncio.get_running_loop()
    turns_s: list[float] = []

    def turn() -> None:
        turns_s.append(time.monotonic())
        if not answer.done():
            loop.call_soon(turn)

    answer = asyncio.ensure_future(http_client.fetch(f"{base_url}/block?seconds=0.05"))
    loop.call_soon(turn)

    response = await answer
    longest_pause_s = max(late - early for early, late in pairwise(turns_s))

    assert {"blocked_s": 0.05, "pid": os.getpid(), "fork_id": None} == json.loads(response.body)
    assert longest_pause_s >= 0.05
