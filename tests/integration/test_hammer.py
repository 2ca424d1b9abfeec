"""Four workers call a real Redis and a real PostgreSQL through connections made at import."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.hammering import RESOURCES, hammer
from support.marks import marks

from tornado_multi.testing import leash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartCluster
    from support.postgres_server import PostgresServer
    from support.redis_server import RedisServer

pytestmark = pytest.mark.process
WORKERS = 4


@pytest.fixture
def environment(postgres: PostgresServer, redis_peer: RedisServer) -> dict[str, str]:
    return postgres.environment | redis_peer.environment


@contextlib.contextmanager
def forked_by_tornado(environment: dict[str, str]) -> Iterator[int]:
    """Run the app with Tornado's fork_processes; yields its port."""
    program = leash.spawn(
        [sys.executable, "hammer.py"],
        cwd=VICTIMS,
        env=os.environ | environment | {"STUCK_S": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with program:
        try:
            yield int(program.stdout.readline())
        finally:
            os.killpg(program.pid, signal.SIGKILL)


@pytest.mark.parametrize("resource", RESOURCES)
def test_plain_replies_go_to_the_wrong_worker(environment: dict[str, str], resource: str) -> None:
    """With Tornado alone calls get each other's replies, or fail; but for the pool of Redis."""
    with forked_by_tornado(environment) as port:
        for _ in range(10):  # until more than one worker has had its turn
            seen = hammer(port, 3200, per_request=100, resources=[resource])
            if len(seen.pids) > 1:
                break
    faults = seen.wrong.total() + seen.errors.total()

    assert (faults == 0) == (resource == "redis-client"), seen


def test_served_every_reply_is_ones_own(cluster: StartCluster, environment: dict[str, str]) -> None:
    """100,000 calls: no reply is another's; what can't connect anew fails once per worker.

    That error names the line which has made the connection.
    """
    made = cluster("hammer:make_app", workers=WORKERS, environment=environment)
    seen = hammer(made.port(), 100_000, per_request=200)
    failed = {resource for resource, _ in seen.errors if seen.errors[resource, _]}
    lines = {mark.kind: mark.line for mark in marks(VICTIMS / "hammer.py")}

    assert (100_000, 0) == (seen.calls, seen.wrong.total())
    assert WORKERS == len(seen.pids)
    assert {"psycopg"} == failed
    assert {1} == {count for count in seen.errors.values() if count}
    assert all(f"hammer.py:{lines['psycopg']}" in text for text in seen.texts), seen.texts


def test_strict_refuses_to_serve_and_names_the_lines(
    cluster: StartCluster, environment: dict[str, str]
) -> None:
    """Exit code 3; each connection that was made at import is named with its line."""
    options = ["--fork-safety", "strict"]
    made = cluster("hammer:make_app", ready=False, environment=environment, options=options)

    assert 3 == made.wait_gone()
    log = made.log()
    expected = marks(VICTIMS / "hammer.py")
    assert [] == [mark for mark in expected if f"hammer.py:{mark.line}" not in log], log
    assert "fork_safety=strict" in log
