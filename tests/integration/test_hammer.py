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

from tornado_multi.testing import leash

if TYPE_CHECKING:
    from collections.abc import Iterator

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
