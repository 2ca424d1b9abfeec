"""Every end is collected once and reported right, strangers' included."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from support import processes
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


def _zombies(made: Cluster) -> list[processes.Process]:
    return [process for process in processes.children(made.pid) if process.state == "Z"]


def test_a_worker_that_dies_before_its_pid_is_announced(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Its exit status is not lost to the reaping of strangers: it is a boot failure with code 7."""
    made = cluster(
        "dies_in_the_fork:make_app",
        workers=1,
        ready=False,
        environment={"MARKER_DIRECTORY": str(tmp_path)},
    )

    assert made.wait_gone() == 3
    assert "exited with code 7" in made.log()


def test_a_daemonised_child_of_the_app_becomes_ours_and_is_collected(
    cluster: StartCluster,
) -> None:
    """An orphan of a worker is adopted by the supervisor and collected when it ends."""
    made = cluster(workers=2)
    pids = made.worker_pids()
    made.get("/shell?command=" + quote("(sleep 0.2; exit 3) & exit 0"))
    eventually(lambda: made.status()["strangers_reaped"] >= 1)

    assert pids == made.worker_pids()
    assert [] == _zombies(made)


def test_a_thousand_strangers_hide_no_workers_end(cluster: StartCluster) -> None:
    """Strangers that exit 3 and 4 change nothing; a worker that exits 5 among them is reported."""
    made = cluster(workers=4)
    pids = made.worker_pids()
    made.get("/shell?command=" + quote(f"exec {sys.executable} orphan_maker.py 1000"))
    with made.connect() as sock:
        sock.sendall(b"GET /exit?code=5 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1) == b""
    eventually(lambda: "exited with code 5" in made.log())
    eventually(lambda: len(made.workers()) == 4)
    eventually(lambda: not _zombies(made))
    survivors = set(pids) & set(made.worker_pids())

    assert len(survivors) == 3
    assert made.log().count("exited with code") == 1
    assert made.status()["strangers_reaped"] == 1000
