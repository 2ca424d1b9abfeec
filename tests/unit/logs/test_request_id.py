"""The id of a request."""

from __future__ import annotations

import asyncio
import re

import pytest
from tornado.httputil import HTTPHeaders

import tornado_multi
from tornado_multi.logs.request_id import begin_request, end_request


@pytest.mark.parametrize("given", ["a", "A-Za.z0_9", "x" * 128])
def test_a_sane_id_is_taken_over(given: str) -> None:
    """So that logs of several services can be joined."""
    begin_request(HTTPHeaders({"x-request-id": given}))

    assert given == tornado_multi.request_id()


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "ä", "a,b", "<script>"])
def test_any_other_is_replaced(given: str) -> None:
    """It goes into log lines and headers: what a client sends must not break them."""
    begin_request(HTTPHeaders({"X-Request-Id": given} if given else {}))
    made = tornado_multi.request_id()

    assert made is not None
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made == tornado_multi.request_id()


def test_two_requests_differ() -> None:
    """Each request that brings none gets its own."""
    begin_request({})
    first = tornado_multi.request_id()
    begin_request({})

    assert first != tornado_multi.request_id()


def test_there_is_none_outside_a_request() -> None:
    """Before the first and after the last."""
    begin_request({})
    end_request()

    assert tornado_multi.request_id() is None


def test_tasks_inherit_it_and_connections_do_not_mix() -> None:
    """Each connection has a task of its own; what a handler starts belongs to its request."""

    async def connection(name: str) -> list[str | None]:
        begin_request({"X-Request-Id": name})
        await asyncio.sleep(0)
        started = asyncio.get_running_loop().create_task(later())
        end_request()
        return [tornado_multi.request_id(), await started]

    async def later() -> str | None:
        await asyncio.sleep(0)
        return tornado_multi.request_id()

    async def both() -> list[list[str | None]]:
        return await asyncio.gather(connection("one"), connection("two"))

    assert [[None, "one"], [None, "two"]] == asyncio.run(both())
