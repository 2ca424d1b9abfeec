"""Process 1 of a container, and its limits of CPU and memory."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from support.commands import run_command
from support.groups import entering
from support.processes import Process, children
from support.programs import require_program, require_root
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.cluster import Cluster
    from support.groups import MakeGroup

pytestmark = pytest.mark.process

# --- process 1 ------------------------------------------------------------------------------------


@pytest.fixture
def as_process_1(cluster: StartCluster) -> StartCluster:
    """Start supervisors as process 1 of a namespace, as a container engine does."""
    require_program("unshare", "util-linux")
    require_root("make a pid namespace")

    def start(app: str = "hello:make_app", *, ready: bool = True, **options: object) -> Cluster:
        return cluster(app, ready=ready, as_process_1=True, **options)

    return start


def inside(made: Cluster) -> list[Process]:
    """Return every process of the namespace, as process 1 sees them."""
    root = Path(f"/proc/{made.supervisor_pid()}/root/proc")
    found = []
    for entry in root.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # gone since
                fields = (root / entry.name / "stat").read_text().rpartition(")")[2].split()
                title = (root / entry.name / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(
                    Process(int(entry.name), int(fields[1]), int(fields[2]), int(fields[3]), fields[0], title)
                )  # fmt: skip
    return found


def test_process_1_drains_and_keeps_its_exit_code(as_process_1: StartCluster) -> None:
    """TERM: the request in progress is answered, nothing is left, and the code is 0."""
    made = as_process_1(workers=2)
    assert 1 == made.status()["pid"]
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        made.signal(signal.SIGTERM)
        answer = b""
        while data := sock.recv(4096):
            answer += data

    assert answer.endswith(b"done")
    assert made.wait_gone() == 0
    assert "1 finished" in made.log()


def test_process_1_that_had_to_kill_says_so(as_process_1: StartCluster) -> None:
    """128 + 15 when a worker outlived its time, as outside of a container."""
    made = as_process_1(workers=1, options=["--drain-timeout-s", "0"])
    with made.connect() as sock:
        sock.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        made.signal(signal.SIGTERM)

        assert made.wait_gone() == 143


def test_process_1_whose_app_fails_to_boot(as_process_1: StartCluster) -> None:
    """The container ends with 3 and the traceback, and does not hang as a dead shell."""
    made = as_process_1("import_raises:make_app", ready=False)

    assert made.wait_gone() == 3
    assert "ValueError: no database configured" in made.log()


def test_process_1_collects_every_orphan(as_process_1: StartCluster) -> None:
    """Orphans of the app fall to process 1 and leave no zombie; workers stay."""
    made = as_process_1(workers=2)
    pids = made.worker_pids()
    made.get("/shell?command=" + quote("for i in 1 2 3 4 5 6 7 8 9; do (exit 3) & done; exit 0"))
    made.get("/shell?command=" + quote("setsid sh -c '(exit 0) & exit 4' & exit 0"))
    eventually(lambda: made.status()["strangers_reaped"] >= 1)
    eventually(lambda: [item for item in inside(made) if item.state == "Z"] == [])
    titles = [item.title for item in inside(made)]

    assert pids == made.worker_pids()
    assert 4 == len(titles), titles
    assert made.stop() == 0


def test_process_1_reloads_and_replaces(as_process_1: StartCluster) -> None:
    """What a supervisor does elsewhere, it does as process 1: parents are told by their pid, 1."""
    made = as_process_1(workers=2)
    first = made.worker(0)["pid"]
    (seen_from_here,) = [
        item.pid for item in children(made.supervisor_pid()) if "worker 0 gen 1" in item.title
    ]
    os.kill(seen_from_here, signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2 and first not in made.worker_pids())
    assert run_command(made, "reload").returncode == 0

    assert [2, 2] == [row["generation"] for row in made.workers()]
    assert 1 == made.get_json("/who")["parent_pid"]


def test_process_1_forwards_nothing(as_process_1: StartCluster, tmp_path: Path) -> None:
    """What process 1 is told is meant for it alone: an orphan of the app hears of no signal."""
    made = as_process_1(workers=1)
    heard, alive = tmp_path / "heard", tmp_path / "alive"
    trap = f"trap 'echo x >> {heard}' HUP INT QUIT TERM USR1 USR2 WINCH"
    made.get(
        "/shell?command="
        + quote(f"({trap}; echo $$ > {alive}; while :; do sleep 0.05; done) > /dev/null & exit 0")
    )
    eventually(alive.exists)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGHUP):
        made.signal(number)
    eventually(lambda: made.status()["generation"] == 2)
    orphans = [item for item in inside(made) if "sh -c" in item.title]

    assert [1] == [item.parent_pid for item in orphans]
    assert made.stop() == 0
    assert not heard.exists()


# --- limits ---------------------------------------------------------------------------------------


def test_auto_looks_at_the_quota_of_a_real_group(
    make_group: MakeGroup, cluster: StartCluster
) -> None:
    """Half a CPU is one worker, whatever the machine has."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one CPU, auto is 1 in any case")
    quota = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000"}
    free = cluster(workers=None)
    limited = cluster(workers=None, wrapper=entering(make_group("cpu", quota)))

    assert len(os.sched_getaffinity(0)) == len(free.workers())
    assert 1 == len(limited.workers())
    for made in (free, limited):
        assert made.stop() == 0


def test_the_status_says_the_memory_limit(make_group: MakeGroup, cluster: StartCluster) -> None:
    """The limit of the group that the service runs in, as the kernel rounds it."""
    limit = str(512 * 2**20)
    group = make_group("memory", {"memory.limit_in_bytes": limit, "memory.max": limit})
    made = cluster(workers=1, wrapper=entering(group))

    assert 512 * 2**20 == made.status()["memory_limit_bytes"]
    assert made.stop() == 0
