"""A service behind nginx, which keeps connections to it, through reloads and recycling."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.commands import run_command
from support.nginx_server import nginx_before
from support.posting import PostingClient, post_through_reloads

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_posts_through_nginx_and_reloads_all_succeed(
    cluster: StartCluster, tmp_path: Path, kind: str
) -> None:
    """500 POSTs, which nginx does not try twice, and at least five reloads: none fails."""
    path = tmp_path / "app.sock"
    made = cluster(workers=2, bind=["127.0.0.1:0"] if kind == "tcp" else [f"unix:{path}"])
    upstream = f"unix:{path}" if kind == "unix" else f"127.0.0.1:{made.port()}"
    with nginx_before(upstream, tmp_path / "nginx") as port:
        clients = [PostingClient(port, 63, 0.005) for _ in range(8)]
        results, reloads = post_through_reloads(
            clients, lambda: run_command(made, "reload").returncode == 0
        )

    assert {"success"} == set(results), results
    assert results["success"] >= 500
    assert made.status()["generation"] == reloads + 1


def test_posts_through_nginx_while_workers_are_recycled(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """800 POSTs to workers of 25 requests each: none fails."""
    made = cluster(workers=2, options=["--max-requests", "25"])
    upstream = f"127.0.0.1:{made.port()}"
    with nginx_before(upstream, tmp_path / "nginx") as port:
        clients = [PostingClient(port, 100, 0.0) for _ in range(8)]
        for client in clients:
            client.enough.set()
            client.start()
        for client in clients:
            client.join(60)
    results = sum((client.results for client in clients), Counter())

    assert {"success": 800} == dict(results)
    assert made.log().count("(max_requests)") >= 20
