"""When the supervisor dies, the whole tree is gone and a fresh supervisor can start at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support import processes
from support.cluster import can_bind
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


def _expect_all_gone(made: Cluster, port: int) -> None:
    made.process.wait(10)
    eventually(lambda: not made.leftovers(), within_s=10, about="processes of the tree")
    assert can_bind(port)
    made.control.unlink()  # nobody was left who could
    made.control.with_name(made.control.name + ".lock").unlink()


def test_kill_of_the_supervisor_ends_idle_busy_and_blocked_workers(
    cluster: StartCluster,
) -> None:
    """Kill -9 of the supervisor: no process of the tree is left and the port is free."""
    made = cluster(workers=3)
    port = made.port()
    busy, blocked = made.connect(), made.connect()
    busy.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
    blocked.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 2)
    made.signal(signal.SIGKILL)

    _expect_all_gone(made, port)
    busy.close()
    blocked.close()


def test_kill_of_the_supervisor_during_the_import_ends_the_zygote(
    cluster: StartCluster,
) -> None:
    """A zygote that is busy importing does not outlive the supervisor."""
    made = cluster("import_hangs:make_app", ready=False)
    eventually(lambda: any("importing" in item.title for item in made.leftovers()))
    made.signal(signal.SIGKILL)
    made.process.wait(10)
    eventually(lambda: not made.leftovers(), within_s=10)
    made.control.unlink()
    made.control.with_name(made.control.name + ".lock").unlink()


def test_a_fresh_supervisor_takes_over_what_a_killed_one_left(cluster: StartCluster) -> None:
    """Stale control socket, lock file and pid file are no obstacle."""
    first = cluster(workers=1)
    pid_file = first.directory / "pid"
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    assert first.control.exists()
    second = cluster(workers=1, control=first.control, options=["--pid-file", str(pid_file)])

    assert int(pid_file.read_text()) == second.pid
    assert second.stop() == 0
    assert not pid_file.exists()
    assert not first.control.exists()


def test_every_channel_end_is_held_by_one_process_with_three_generations_alive(
    cluster: StartCluster,
) -> None:
    """No fork keeps a copy of another pair's end: so killing one end is end of file at the other.

    1. Kill the zygote and a worker, twice: workers of generations 1, 2 and 3 live side by side.
    2. Each SEQPACKET socket of the tree is held by exactly one process.
    3. Each zygote holds one, each worker two (its own and its watchdog's), the supervisor the other
       ends.
    """
    made = cluster(workers=3)
    for generation, fork_id in ((2, 1), (3, 2)):
        os.kill(made.zygote_pid(), signal.SIGKILL)
        eventually(
            lambda wanted=generation: [
                item
                for item in made.status()["zygotes"]
                if item["generation"] == wanted and item["state"] == "ready"
            ]
        )
        os.kill(made.worker(fork_id)["pid"], signal.SIGKILL)
        eventually(
            lambda wanted=generation, place=fork_id: [
                row
                for row in made.workers()
                if row["fork_id"] == place and row["generation"] == wanted
            ]
        )
    assert [1, 2, 3] == [row["generation"] for row in made.workers()]

    holders: dict[int, list[int]] = {}
    seqpacket = processes.seqpacket_inodes()
    for process in made.leftovers():
        for inode in processes.socket_inodes(process.pid) & seqpacket:
            holders.setdefault(inode, []).append(process.pid)
    own = dict.fromkeys(made.worker_pids(), 2) | {made.zygote_pid(): 1, made.pid: 7}

    assert [] == [pids for pids in holders.values() if len(pids) != 1]
    counted = [pids[0] for pids in holders.values()]
    assert own == {pid: counted.count(pid) for pid in own}


def test_a_worker_that_changed_its_identity_dies_with_the_supervisor(
    cluster: StartCluster,
) -> None:
    """Setuid in the factory clears the parent-death signal: it is armed again afterwards."""
    if os.getuid() != 0:
        pytest.skip("only root can change its identity")
    made = cluster("becomes_nobody:make_app", workers=1)
    port = made.port()
    with made.connect() as blocked:
        blocked.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGKILL)
        _expect_all_gone(made, port)
