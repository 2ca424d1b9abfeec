"""Keep-alive connections spread over the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster

pytestmark = pytest.mark.process


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_forty_busy_connections_spread_over_four_workers(cluster: StartCluster, loop: str) -> None:
    """Fullest / mean <= 1.25, five times out of five."""
    made = cluster(workers=4, options=["--loop", loop])
    for _ in range(5):
        with Load(made.port(), 40):
            held = eventually(
                lambda: [
                    counts
                    for counts in [[row["connections"] for row in made.workers()]]
                    if sum(counts) == 40
                ]
            )[0]
        assert max(held) / (sum(held) / 4) <= 1.25, held
        eventually(lambda: sum(row["connections"] for row in made.workers()) == 0)


def test_a_blocked_worker_strands_no_connection(cluster: StartCluster) -> None:
    """While one worker's loop is blocked, its siblings take what it can't, over their share too."""
    made = cluster(workers=2)
    with made.connect() as blocking:
        blocking.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        with Load(made.port(), 10) as load:
            assert len({client.served_by for client in load.clients}) == 1
    assert not load.errors()
