"""Event loops that do not run: seen, explained, given up in time; whoever runs is left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import VICTIMS
from support.commands import run_command
from support.load import Load
from support.processes import read_process
from support.waiting import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

NEVER = ["--hang-timeout-s", "600"]
JSON = ["--log-format", "json"]


def line_of(text: str) -> str:
    """Return what faulthandler calls the line of the victim with this comment."""
    lines = (VICTIMS / "blocks_loop.py").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.endswith(text)]
    return f'blocks_loop.py", line {number} in '


@contextmanager
def blocked(made: Cluster, path: str) -> Iterator[socket.socket]:
    """Have one worker blocked by a request."""
    with made.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: any(row["in_flight"] for row in made.status()["workers"]))
        yield sock


def records(made: Cluster, text: str) -> list[dict[str, Any]]:
    """Return the records of the JSON log that have *text* in their sentence."""
    *whole, _ = made.log().split("\n")
    return [record for record in map(json.loads, whole) if text in record["text"]]


def report(made: Cluster) -> dict[str, Any]:
    return eventually(lambda: records(made, "event loop has not run"), about="a report")[0]


def seconds_into(request: float, record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["time"]).timestamp() - request


def kill_blocked(made: Cluster) -> None:
    """End the worker that is blocked, so that the test need not wait for its handler."""
    for row in made.status()["workers"]:
        if row["in_flight"]:
            os.kill(row["pid"], signal.SIGKILL)


def test_a_sleep_in_a_coroutine_is_reported_with_line_route_and_tasks(
    cluster: StartCluster,
) -> None:
    """Within 1.5 s of the request; nobody is killed, and its end is said too.

    The bound here is wider, for a machine that has more to do than this.
    """
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, *NEVER])
    begun_s = time.time()
    with blocked(made, "/sleep?s=5") as sock:
        seen = report(made)
        pid = made.worker(0)["pid"]

        said = run_command(made, "status").stdout
        assert "worker 0: its event loop has not run for " in said
        assert " s in GET blocks_loop.Sleep\n" in said
        assert "GET blocks_loop.Sleep" == seen["route"]
        assert line_of("# the line that blocks") in seen["threads"]
        assert "time.sleep(float" in seen["tasks"]
        assert "task 'poll prices'" in seen["tasks"]
        assert "in poll_prices" in seen["tasks"]
        assert f"worker fork_id=0 gen=1 pid={pid}" == seen["who"]
        assert 1.0 <= seen["silent_s"] <= seconds_into(begun_s, seen) + 0.6 < 4.6
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    eventually(lambda: records(made, "The event loop runs again"))
    status = eventually(lambda: made.worker(0)["slow_steps"] and made.worker(0))

    assert (pid, 0) == (status["pid"], status["restarts"])
    ((handler, count),) = [(item["handler"], item["count"]) for item in status["slow_steps"]]
    assert ("GET blocks_loop.Sleep", 1) == (handler, count)
    assert 5.0 <= status["slow_steps"][0]["longest_s"]
    said = run_command(made, "status").stdout
    assert "worker 0: GET blocks_loop.Sleep held up the event loop once, for 5." in said
    assert "has not run" not in said
    assert 1 == len(records(made, "event loop has not run"))


def test_a_regular_expression_that_keeps_the_lock_is_reported_all_the_same(
    cluster: StartCluster,
) -> None:
    """Threads and route come from beneath Python; the tasks can't, and the report says so."""
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, *NEVER])
    with blocked(made, "/regex?n=64"):
        seen = report(made)
        kill_blocked(made)

    assert "GET blocks_loop.Regex" == seen["route"]
    assert line_of("# the line that holds the lock") in seen["threads"]
    assert None is seen["tasks"]
    assert "tasks and other threads follow when the interpreter's lock is free" in seen["text"]


def test_the_tasks_are_added_when_the_lock_is_free(cluster: StartCluster) -> None:
    """A call that keeps the interpreter's lock for 3 to 6 s: then the watchdog has its turn."""
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, *NEVER])
    with blocked(made, "/holds?s=3") as sock:
        assert None is report(made)["tasks"]
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    (later,) = eventually(lambda: records(made, "now that the interpreter's lock is free"))

    assert "task 'poll prices'" in later["tasks"]


def test_a_loop_that_waits_for_a_lock_is_given_up_and_others_serve(
    cluster: StartCluster,
) -> None:
    """Report first, then ABRT with the stacks once more, then a successor; siblings: no error.

    1. One of two workers waits for a lock for ever.
    2. The report names the line that waits.
    3. After hang_timeout_s its death is said with the route, then the line again, as no crash.
    """
    made = cluster("blocks_loop:make_app", workers=2, options=[*JSON, "--hang-timeout-s", "3"])
    with blocked(made, "/locked"):
        (victim,) = [row["pid"] for row in made.status()["workers"] if row["in_flight"]]
        (sibling,) = set(made.worker_pids()) - {victim}
        with Load(made.port(), 4) as load:
            seen = report(made)
            load.until(lambda: len(made.workers()) == 2 and victim not in made.worker_pids())

    assert {} == load.errors()
    assert sibling in made.worker_pids()
    assert line_of("# the line that waits") in seen["threads"]
    (record,) = eventually(lambda: records(made, "The worker was killed"))
    death = record["death"]
    assert "GET blocks_loop.Locked" == death["route"]
    assert "did not run for 3 s (hang_timeout_s), in GET blocks_loop.Locked" in death["kill_reason"]
    assert (signal.SIGABRT, 1) == (death["signal"], death["in_flight"])
    assert line_of("# the line that waits") in death["stacks"]
    assert 3.0 <= death["beat_age_s"]
    said = records(made, "")
    (at,) = [number for number, record in enumerate(said) if "death" in record]
    assert ("warning", "warning") == (said[at]["level"], said[at + 1]["level"])
    assert said[at + 1]["text"].startswith("Where its threads were when the supervisor ended it:\n")
    assert [] == records(made, "last words")
    eventually(lambda: [0, 1] == sorted(row["restarts"] for row in made.workers()))


def test_a_blocked_loop_is_killed_if_the_lock_is_kept(cluster: StartCluster) -> None:
    """ABRT ends it beneath Python too: no handler of the app's is asked."""
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, "--hang-timeout-s", "2"])
    with blocked(made, "/regex?n=64"):
        victim = made.worker(0)["pid"]
        eventually(lambda: made.workers() and victim not in made.worker_pids())
    (record,) = eventually(lambda: records(made, "The worker was killed"))
    death = record["death"]

    assert line_of("# the line that holds the lock") in death["stacks"]
    assert made.get("/")


def test_a_thread_that_keeps_the_lock_is_named_when_the_worker_is_given_up(
    cluster: StartCluster,
) -> None:
    """The main thread only waits for the lock then, and its stack misleads."""
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, "--hang-timeout-s", "2"])
    with blocked(made, "/regex_in_thread?n=64"):
        assert None is report(made)["tasks"]
        (record,) = eventually(lambda: records(made, "The worker was killed"))

    assert line_of("# the line that holds the lock in a thread") in record["death"]["stacks"]


def test_busy_threads_survive_that_stacks_are_asked_for(cluster: StartCluster) -> None:
    """Their frames come and go, so nobody may look at them without the interpreter's lock."""
    made = cluster("blocks_loop:make_app", workers=1, options=[*JSON, *NEVER])
    pid = made.worker(0)["pid"]
    assert b"started" in made.get("/busy_threads")
    said = [json.loads(run_command(made, "stacks", "--json").stdout) for _ in range(20)]

    assert {pid} == {worker["pid"] for reply in said for worker in reply["stacks"]}
    threads = [worker["threads"] for reply in said for worker in reply["stacks"]]
    assert all("Main thread (most recent call first):" in text for text in threads)
    assert any("count_for_ever" in text and "'counts 0'" in text for text in threads)
    assert (pid, 0) == (made.worker(0)["pid"], made.worker(0)["restarts"])


def test_the_request_that_blocks_is_named_and_not_the_one_begun_last(
    cluster: StartCluster,
) -> None:
    """Several are in flight in a worker at most times: the report names whose code runs."""
    options = [*JSON, *NEVER, "--drain-timeout-s", "0.5"]
    made = cluster("blocks_loop:make_app", workers=1, options=options)
    with blocked(made, "/first?s=600"), made.connect() as second:
        second.sendall(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = report(made)
        row = made.worker(0)
        kill_blocked(made)
        (death,) = eventually(lambda: records(made, "The worker was ended"))

    assert "GET blocks_loop.First" == seen["route"]
    assert ("GET blocks_loop.First", 2) == (row["route"], row["in_flight"])
    assert ("GET blocks_loop.First", 2) == (death["death"]["route"], death["death"]["in_flight"])


# --- processes that are stopped -------------------------------------------------------------------


def test_a_stopped_worker_is_said_to_be_stopped_then_replaced(cluster: StartCluster) -> None:
    """SIGSTOP one worker: within timeout + 2 s it is replaced; the others serve throughout."""
    made = cluster(workers=2, options=[*JSON, "--hang-timeout-s", "3"])
    victim, sibling = made.worker_pids()
    with Load(made.port(), 4) as load:
        # Connections that it holds wait for it: those who wait for nothing must see no error.
        load.until(lambda: load.successes() > 100)
    os.kill(victim, signal.SIGSTOP)
    with Load(made.port(), 4) as load:
        load.until(lambda: len(made.workers()) == 2 and victim not in made.worker_pids())

    assert {} == load.errors()
    assert sibling in made.worker_pids()
    (stopped,) = records(made, "The process is stopped")
    (death,) = records(made, "The worker was killed")
    took_s = (
        datetime.fromisoformat(death["time"]) - datetime.fromisoformat(stopped["time"])
    ).total_seconds()
    assert "was stopped for 3 s (hang_timeout_s)" == death["death"]["kill_reason"]
    assert took_s < 3 + 10
    assert None is read_process(victim)


def test_a_worker_that_is_stopped_for_a_moment_lives(cluster: StartCluster) -> None:
    """SIGSTOP, then CONT before the timeout: log and status say it, and nothing else happens."""
    made = cluster(workers=1, options=NEVER)
    (pid,) = made.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: "The process is stopped, for 1." in made.log())
    assert made.worker(0)["is_stopped"] is True
    checked = run_command(made, "status", "--check")
    assert (1, "tornado-multi: No worker is ready.\n") == (checked.returncode, checked.stderr)
    assert "\nworker 0: its process is stopped, for " in checked.stdout
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: "The event loop runs again" in made.log())
    assert made.worker(0)["is_stopped"] is False
    assert 0 == run_command(made, "status", "--check").returncode

    assert [pid] == made.worker_pids()
    assert made.get("/")


def test_a_supervisor_that_was_stopped_kills_nobody(cluster: StartCluster) -> None:
    """SIGSTOP it for longer than the timeout, then CONT: the same pids, and not a word.

    That the time has passed is proved by a worker's own beats. A worker that is blocked since then
    is given up after looks that came in time.
    """
    made = cluster("blocks_loop:make_app", workers=2, options=["--hang-timeout-s", "1.5"])
    pids = made.worker_pids()
    made.signal(signal.SIGSTOP)
    eventually(lambda: read_process(made.pid).state == "T")  # type: ignore[union-attr]
    made.get("/slow?s=3")  # a worker's loop says when 3 s are over
    made.signal(signal.SIGCONT)
    for _ in range(5):
        assert pids == made.worker_pids()
        made.get("/slow?s=0.3")

    assert "event loop" not in made.log()
    with blocked(made, "/sleep?s=60"):
        eventually(lambda: "(hang_timeout_s), in GET blocks_loop.Sleep" in made.log())


def test_supervisor_and_workers_stopped_together_go_on_together(cluster: StartCluster) -> None:
    """As a suspended machine or a frozen container: nobody is blamed for the others' time."""
    made = cluster(workers=3, options=["--hang-timeout-s", "1.5"])
    pids = made.worker_pids()
    everybody = [made.pid, made.zygote_pid(), *pids]
    clock = cluster(workers=1, options=NEVER)
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    clock.get("/slow?s=3")
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    for _ in range(5):
        made.get("/slow?s=0.2")

    assert pids == made.worker_pids()
    assert not re.search("was killed", made.log())


def test_workers_that_go_on_later_than_their_supervisor_live(cluster: StartCluster) -> None:
    """Silences count from the moment at which the supervisor runs again, not only one look later."""
    made = cluster(workers=2, options=["--hang-timeout-s", "4", "--hang-warn-s", "0.6"])
    pids = made.worker_pids()
    for pid in [made.pid, *pids]:
        os.kill(pid, signal.SIGSTOP)
    cluster(workers=1, options=NEVER).get("/slow?s=4.5")  # its loop says when the time is over
    made.signal(signal.SIGCONT)
    eventually(lambda: made.log().count("The process is stopped, for 0.") == len(pids))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: made.log().count("The event loop runs again") == len(pids))

    assert pids == made.worker_pids()
