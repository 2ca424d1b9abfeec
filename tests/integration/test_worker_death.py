"""A worker that dies is replaced; its siblings and their clients notice nothing."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process


def test_kill_under_load_costs_at_most_the_request_in_hand(cluster: StartCluster) -> None:
    """Clients of other workers see no error, a client of the killed worker at most one."""
    made = cluster(workers=4)
    with Load(made.port(), 8) as load:
        for _ in range(5):
            victim = made.worker(0)["pid"]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda gone=victim: made.workers() and gone not in made.worker_pids())
            eventually(lambda: len(made.workers()) == 4)
        own_errors = [sum(client.errors().values()) for client in load.clients]

    assert load.errors().keys() <= {"empty", "reset"}
    assert all(count <= 5 for count in own_errors)
    assert made.worker(0)["restarts"] == 5


def test_a_killed_workers_other_clients_see_nothing(cluster: StartCluster) -> None:
    """Only connections that the killed worker held end; every other one goes on."""
    made = cluster(workers=4)
    with Load(made.port(), 8) as load:
        served_by = {client: int(client.served_by) for client in load.clients}
        victim = next(iter(served_by.values()))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(made.workers()) == 4 and victim not in made.worker_pids())
        before = load.successes()
        load.until(lambda: load.successes() > before + 100)

    for client, pid in served_by.items():
        errors = sum(client.errors().values())
        assert errors <= (1 if pid == victim else 0), client.errors()


@pytest.mark.parametrize("code", [0, 1, 3, 4, 70])
def test_the_exit_code_is_reported_right(cluster: StartCluster, code: int) -> None:
    """Whatever code a worker exits with, that code is in the report, and the service lives."""
    made = cluster(workers=2)
    with made.connect() as sock:
        sock.sendall(f"GET /exit?code={code} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(1) == b""
    eventually(lambda: f"exited with code {code}" in made.log())
    eventually(lambda: len(made.workers()) == 2)


def test_the_apps_sys_exit_ends_one_worker(cluster: StartCluster) -> None:
    """sys.exit in a callback ends that worker with its code; it is replaced."""
    made = cluster(workers=2)
    made.get("/sysexit?code=6")
    eventually(lambda: "exited with code 6" in made.log())
    eventually(lambda: len(made.workers()) == 2)


def test_term_to_a_worker_is_a_clean_restart(cluster: StartCluster) -> None:
    """TERM: a successor comes at once, the request in hand is finished, nothing is a failure."""
    made = cluster(workers=1)
    old = made.worker(0)["pid"]
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        os.kill(old, signal.SIGTERM)
        eventually(lambda: [row for row in made.workers() if row["pid"] != old])
        assert [old] == [row["pid"] for row in made.workers("draining")]
        answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
    eventually(lambda: not made.workers("draining"))
    assert "error" not in made.log()
    assert made.worker(0)["restarts"] == 1


def test_a_worker_that_dies_young_comes_back_after_a_growing_pause(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """1 s, then 2 s; status shows backoff and the cause; the sibling count heals by itself."""
    marker = tmp_path / "die"
    made = cluster(
        "dies_when_ready:make_app",
        workers=1,
        environment={"DIE_WHILE": str(marker)},
    )
    marker.touch()
    os.kill(made.worker(0)["pid"], signal.SIGKILL)
    eventually(lambda: "next try in 2 s" in made.log())
    waiting = eventually(lambda: made.workers("backoff"))

    assert waiting[0]["pid"] is None
    assert waiting[0]["last_end"] == "exited with code 11"
    assert re.findall(r"next try in (\S+) s", made.log()) == ["1", "2"]
    marker.unlink()
    eventually(made.workers)


def test_ctrl_c_of_the_terminal_reaches_the_group_but_only_the_supervisor_acts(
    cluster: StartCluster,
) -> None:
    """INT and QUIT to the whole process group: workers and zygote ignore them."""
    made = cluster(workers=2)
    pids, zygote = made.worker_pids(), made.zygote_pid()
    for pid in [*pids, zygote]:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGQUIT)
        os.kill(pid, signal.SIGHUP)
    assert pids == made.worker_pids()
    assert zygote == made.zygote_pid()
    assert made.get("/")
    os.killpg(made.pid, signal.SIGINT)
    assert made.wait_gone() == 0


def test_the_end_of_a_worker_runs_in_order(cluster: StartCluster, tmp_path: Path) -> None:
    """Tasks' finally blocks run, then exit handlers of the worker; those of the zygote don't."""
    marks = tmp_path / "marks"
    made = cluster("ends_in_order:make_app", workers=1, environment={"MARKS": str(marks)})
    assert made.stop() == 0

    assert ["finally of a task", "atexit of the worker"] == marks.read_text().splitlines()


@pytest.mark.parametrize("app", ["sigchld_ignored", "stdout_none"])
def test_odd_things_done_at_import_do_no_harm(cluster: StartCluster, app: str) -> None:
    """An app that ignores SIGCHLD, or puts None in the place of stdout, is served."""
    made = cluster(f"{app}:make_app", workers=2)
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2)
    assert made.get("/")
    assert made.stop() == 0


def test_exit_handlers_that_never_end_leave_no_place_unserved(cluster: StartCluster) -> None:
    """sys.exit in a handler, then an atexit that hangs: killed after the grace, and replaced."""
    made = cluster("hangs_at_exit:make_app", workers=1)
    old = made.worker(0)["pid"]
    made.get("/sysexit?code=3")
    eventually(lambda: [row for row in made.workers() if row["pid"] != old], within_s=20)
    assert "served no more but did not end" in made.log()


def test_term_during_the_first_boot_of_a_worker_is_no_failed_boot(cluster: StartCluster) -> None:
    """A worker that is told to leave before it is ready is replaced, and the service comes up."""
    made = cluster("slow_factory:make_app", workers=1, ready=False)
    starting = eventually(
        lambda: [item for item in made.leftovers() if "worker 0 gen 1 starting" in item.title]
    )
    os.kill(starting[0].pid, signal.SIGTERM)
    made.wait_ready()
    assert made.get("/")
