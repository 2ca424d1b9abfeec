"""Workers that end in every way: what is told of it, as evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import VICTIMS
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

CRASHES = VICTIMS / "crashes.py"


def line_of(mark: str) -> int:
    lines = Path(CRASHES).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if mark in line)


def death_after(made: Cluster, path: str) -> dict[str, Any]:
    """Ask for *path* and return the record of the worker's end."""
    with made.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: any("death" in record for record in records(made)))
    (record,) = [record for record in records(made) if "death" in record]
    return record


def records(made: Cluster) -> list[dict[str, Any]]:
    """Return all records of the log; a line that is no JSON is a fault by itself."""
    lines = made.log().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"])
def test_a_fatal_signal_leaves_the_line_that_crashed(cluster: StartCluster, name: str) -> None:
    """In a worker that nobody has asked for stacks before: error first, then the thread that did it."""
    made = cluster("crashes:make_app", workers=1, options=["--log-format", "json"])
    death = death_after(made, f"/signal?name={name}")["death"]

    head, current, *_ = death["stacks"].split("\n\n")
    assert head.startswith("Fatal Python error")
    assert current.startswith("Current thread")
    assert f'"{CRASHES}", line {line_of("# the line that crashes")} in get' in current
    assert "watchdog" not in death["stacks"]


@pytest.mark.parametrize(
    ("code", "exit_code", "shown"), [("5", 5, "sys.exit(5)"), ("broke", 1, "sys.exit('broke')")]
)
def test_an_exit_of_the_app_names_its_line(
    cluster: StartCluster, code: str, exit_code: int, shown: str
) -> None:
    """With its code or its text."""
    made = cluster("crashes:make_app", workers=1, options=["--log-format", "json"])
    record = death_after(made, f"/leave?code={code}")

    assert exit_code == record["death"]["exit_code"]
    error = f"{shown} at {CRASHES}:{line_of('# the line that leaves')}"
    assert error == record["death"]["error"]
    assert f"exited with code {exit_code}, by {error}" in record["text"]


def test_an_exit_in_a_callback_tells_its_text(cluster: StartCluster) -> None:
    """There is no line of the app on the way to it."""
    made = cluster("crashes:make_app", workers=1, options=["--log-format", "json"])

    assert "sys.exit('licence expired')" in death_after(made, "/callback")["death"]["error"]


def test_an_error_that_nothing_catches_is_no_fault_of_ours(cluster: StartCluster) -> None:
    """The exit code of any program, line and traceback, each line of the log a record."""
    made = cluster("crashes:make_app", workers=1, options=["--log-format", "json"])
    death = death_after(made, "/interrupt")["death"]

    assert 1 == death["exit_code"]
    assert f"{CRASHES}:{line_of('# the line that interrupts')}" in death["error"]
    (told,) = [record for record in records(made) if "What ended it" in record["text"]]
    assert "raise KeyboardInterrupt" in told["text"]


def test_a_loop_that_the_app_stops(cluster: StartCluster) -> None:
    """Said in words, with the exit code of an error."""
    made = cluster("crashes:make_app", workers=1, options=["--log-format", "json"])
    death = death_after(made, "/stop")["death"]

    assert 1 == death["exit_code"]
    assert "a stop of the event loop" in death["error"]
