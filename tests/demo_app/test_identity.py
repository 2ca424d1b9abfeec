"""Which process answers."""

import json
import os

import pytest
from tornado import process
from tornado.httpclient import AsyncHTTPClient

from demo_app.identity import identity


def test_outside_a_worker_there_is_no_fork_id() -> None:
    """A process that is not a worker has a pid and no fork_id."""
    assert {"pid": os.getpid(), "fork_id": None} == identity()
    assert identity()["fork_id"] == process.task_id()


@pytest.mark.gen_test
async def test_whoami_names_the_process(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The answer is JSON, and nobody on the way may keep it."""
    response = await http_client.fetch(f"{base_url}/whoami")

    assert {"pid": os.getpid(), "fork_id": None} == json.loads(response.body)
    assert "no-store" == response.headers["Cache-Control"]


@pytest.mark.gen_test
async def test_the_fork_id_is_asked_for_at_each_request(
    http_client: AsyncHTTPClient, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork_id that appears after the app was built is told, 0 included."""
    monkeypatch.setattr("tornado_multi.fork_id", lambda: 0)

    response = await http_client.fetch(f"{base_url}/whoami")

    assert {"pid": os.getpid(), "fork_id": 0} == json.loads(response.body)
