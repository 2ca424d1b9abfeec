"""Workers that can't live or can't be made: held within limits, explained, back by themselves."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import run_command
from support.load import Load
from support.processes import read_process
from support.programs import require_program, require_root
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


def start_mortal(cluster: StartCluster, marker: Path, *options: str, workers: int) -> Cluster:
    """Start a service whose workers, but for the first, die when ready while *marker* exists."""
    return cluster(
        "dies_when_ready:make_app",
        workers=workers,
        options=options,
        environment={"DIE_WHILE": str(marker), "SPARED": "0"},
    )


def starts(made: Cluster) -> int:
    return made.log().count(": Ready after ")


@pytest.mark.slow
def test_a_worker_that_dies_when_ready_for_a_minute(cluster: StartCluster, tmp_path: Path) -> None:
    """Starts stay within the budget, the sibling serves with no error, and all comes back by itself.

    1. Two of three workers die 50 ms after they were ready, for 60 s.
    2. Meanwhile clients load the third.
    3. The cause goes away; nothing is commanded.
    """
    marker = tmp_path / "die"
    made = start_mortal(cluster, marker, workers=3)
    sibling, *sick = made.worker_pids()
    marker.touch()
    for pid in sick:
        os.kill(pid, signal.SIGKILL)
    # The clients connect while nobody else is there to accept: who dies takes its own along.
    eventually(
        lambda: [row["retry_in_s"] > 1.5 for row in made.workers("backoff")] == [True, True],
        within_s=30,
    )
    begun_s = time.monotonic()
    with Load(made.port(), 4) as load:
        connected_s = time.monotonic() - begun_s
        load.until(lambda: time.monotonic() > begun_s + 60, within_s=90)
        counted = starts(made)
        rows = made.status()["workers"]
        marker.unlink()
        load.until(lambda: len(made.workers()) == 3, within_s=60)

    answered = [dict(client.bodies) for client in load.clients]
    assert {} == load.errors(), f"{answered} by pid, connected after {connected_s:.2f} s"
    assert 8 <= counted <= 16  # per place: one at once, then after 1, 2, 4, 8, 16, 30 s
    assert sibling == made.worker(0)["pid"]
    assert 0 == made.worker(0)["restarts"]
    assert {"exited with code 11"} == {row["last_end"] for row in rows if row["fork_id"]}


def test_the_budget_holds_and_restart_overrides_it(cluster: StartCluster, tmp_path: Path) -> None:
    """Three starts a minute for all: then one sentence, and the command starts one all the same."""
    marker = tmp_path / "die"
    made = start_mortal(cluster, marker, "--respawns-per-min", "3", workers=4)
    marker.touch()
    for pid in made.worker_pids()[1:]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: "(respawns_per_min)" in made.log(), within_s=20)
    waiting = eventually(
        lambda: (
            (rows := made.workers("backoff"))
            and [row["retry_in_s"] > 5 for row in rows] == [True] * 3
            and rows
        )
    )

    assert {"exited with code 11"} == {row["last_end"] for row in waiting}
    assert 1 == made.log().count("(respawns_per_min)")
    # Those that were killed, three in their place, three of the budget.
    assert 9 == sum(row["restarts"] for row in waiting)
    marker.unlink()
    for fork_id in range(1, 4):
        assert 0 == run_command(made, "restart", str(fork_id)).returncode
    assert 4 == len(made.workers())


def test_kills_from_outside_are_no_crash_loop(cluster: StartCluster) -> None:
    """Ten within a minute are each answered at once, whatever the budget."""
    made = cluster(workers=2, options=["--respawns-per-min", "1"])
    sibling = made.worker(0)["pid"]
    for _ in range(10):
        victim = made.worker(1)["pid"]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda gone=victim: len(made.workers()) == 2 and gone not in made.worker_pids())

    assert "next try" not in made.log()
    assert "respawns_per_min" not in made.log()
    assert (sibling, 10) == (made.worker(0)["pid"], made.worker(1)["restarts"])


# --- the system refuses ---------------------------------------------------------------------------


@contextmanager
def many_processes(user: int, count: int) -> Iterator[None]:
    """Have a user run so many processes more."""
    started = [subprocess.Popen(["sleep", "600"], user=user) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def test_a_fork_that_the_system_refuses_is_tried_again(cluster: StartCluster) -> None:
    """RLIMIT_NPROC of an ordinary user: the sibling serves, the cause is said, and it heals."""
    require_root("run an app as another user")
    require_program("prlimit", "util-linux")
    user = 60_000 + os.getpid() % 5000  # whose processes nobody else counts
    made = cluster(
        workers=2,
        options=["--user", str(user), "--group", str(user)],
        wrapper=["prlimit", "--nproc=10:"],
    )
    with many_processes(user, 10):
        os.kill(made.worker(1)["pid"], signal.SIGKILL)
        refused = eventually(lambda: made.workers("backoff"))

        assert "could not be forked: Resource temporarily unavailable" == refused[0]["last_end"]
        assert made.get("/")
    eventually(lambda: len(made.workers()) == 2)


def test_a_supervisor_without_descriptors_serves_on_and_heals(cluster: StartCluster) -> None:
    """EMFILE in the supervisor: workers serve, the cause is said, and it goes on when it can."""
    made = cluster(workers=2)
    victim = made.worker(1)["pid"]
    old = resource.prlimit(made.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(made.pid, resource.RLIMIT_NOFILE, (3, old[1]))
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "could not be forked: Too many open files" in made.log())

    assert made.get("/")
    resource.prlimit(made.pid, resource.RLIMIT_NOFILE, old)
    eventually(lambda: made.log().count(": Ready after ") == 1)
    eventually(lambda: len(made.workers()) == 2)
    assert "[BUG]" not in made.log()


# --- in the fork ----------------------------------------------------------------------------------


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file exists, forked processes wait."""
    directory = tmp_path / "gate"
    directory.mkdir()
    return directory / "closed"


def start_gated(cluster: StartCluster, gate: Path, wait_in: int, **options: Any) -> Cluster:
    made = cluster(
        "waits_in_the_fork:make_app",
        environment={"WAIT_WHILE": str(gate), "WAIT_IN": str(wait_in)},
        **options,
    )
    gate.touch()
    return made


def waiting_pids(gate: Path) -> list[int]:
    return [int(file.stem) for file in gate.parent.glob("*.waits")]


def test_term_in_the_fork_window_ends_each_worker_by_its_term(
    cluster: StartCluster, gate: Path
) -> None:
    """A hundred times: no signal is lost, none runs a handler of the zygote's, nobody else dies."""
    made = start_gated(cluster, gate, 2, workers=1)
    first, zygote = made.worker(0)["pid"], made.zygote_pid()
    for count in range(2, 102):
        made.signal(signal.SIGTTIN)  # two at once may be one
        eventually(lambda count=count: len(made.status()["workers"]) == count)
    pids = eventually(lambda: len(waiting_pids(gate)) == 100 and waiting_pids(gate), within_s=60)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    gate.unlink()
    ended = "was ended by SIGTERM"
    eventually(
        lambda: all(f"pid={pid}: error: The worker {ended}" in made.log() for pid in pids),
        within_s=60,
    )

    assert not (gate.parent / "handled").exists()
    assert (first, zygote) == (made.worker(0)["pid"], made.zygote_pid())
    assert all(read_process(pid) is None for pid in pids)


@pytest.mark.parametrize("wait_in", [1, 2], ids=["intermediate", "worker"])
def test_a_zygote_killed_in_mid_fork_costs_no_place(
    cluster: StartCluster, gate: Path, wait_in: int
) -> None:
    """Another zygote forks the worker; what the dead one had begun goes away by itself."""
    made = start_gated(cluster, gate, wait_in, workers=2)
    sibling = made.worker(0)["pid"]
    os.kill(made.worker(1)["pid"], signal.SIGKILL)
    (begun,) = eventually(lambda: waiting_pids(gate))
    os.kill(made.zygote_pid(), signal.SIGKILL)
    gate.unlink()
    eventually(lambda: len(made.workers()) == 2)
    eventually(lambda: len(made.leftovers()) == 4)  # supervisor, zygote, two workers

    assert sibling == made.worker(0)["pid"]
    assert made.get("/")
    assert begun not in made.worker_pids() or wait_in == 2
    assert "[BUG]" not in made.log()
