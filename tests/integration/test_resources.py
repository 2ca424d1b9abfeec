"""Resources of workers: their own, shown in the status, closed in order at the end of a drain."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support.commands import run_command
from support.scripts import ScriptCluster
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster


class StartScript(Protocol):
    def __call__(self, text: str, **options: Any) -> ScriptCluster: ...


@pytest.fixture
def script(tmp_path: Path) -> Iterator[StartScript]:
    """Start scripts for this test; at its end, stop them and prove that nothing is left."""
    started: list[ScriptCluster] = []

    def start(text: str, **options: Any) -> ScriptCluster:
        started.append(ScriptCluster(tmp_path / f"s{len(started)}", text, **options))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for made in started:
        made.close()


pytestmark = pytest.mark.process

OPTIONS = ["--drain-idle-s", "0"]
NAMES = ["resourceful.base", "resourceful.pool", "client"]
CREATED = [("created", "base"), ("created", "pool"), ("created", "client")]
CLOSED = [
    ("on_drain", ""),
    ("closing", "client"),
    ("closed", "client"),
    ("closing", "pool"),
    ("closed", "pool"),
    ("closing", "base"),
    ("closed", "base"),
]


SCRIPT = """\
import asyncio
import os

from tornado.httpserver import HTTPServer
from tornado.web import Application

import tornado_multi


def mark(text):
    with open(os.environ["MARKS"], "a") as file:
        file.write(f"{text} {os.getpid()}\\n")


async def close(thing):
    await asyncio.sleep(0)
    mark("closed")


@tornado_multi.per_process(close=close)
def thing():
    mark("created")
    return object()


async def main(sockets):
    HTTPServer(Application([])).add_sockets(sockets)
    thing()
    try:
        await asyncio.Event().wait()
    finally:
        mark("finally")


SOCKETS = tornado_multi.bind_sockets(0, "127.0.0.1")
tornado_multi.fork_processes(2)
asyncio.run(main(SOCKETS))
"""


class Service:
    """A cluster whose resources leave marks."""

    def __init__(
        self,
        cluster: StartCluster,
        directory: Path,
        faults: str = "",
        workers: int = 1,
        app: str = "make_app",
        **more: Any,
    ) -> None:
        self._marks = directory / "marks"
        self._marks.touch()
        self._faults = directory / "faults"
        self._faults.write_text(faults)
        self.cluster = cluster(
            f"resourceful:{app}",
            workers=workers,
            options=OPTIONS,
            environment={"MARKS": str(self._marks), "RESOURCE_FAULTS": str(self._faults)},
            **more,
        )

    def marks(self, pid: int) -> list[tuple[str, str]]:
        return [(mark["event"], mark["name"]) for mark in self.all_marks() if mark["pid"] == pid]

    def all_marks(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._marks.read_text().splitlines()]

    def use(self) -> dict[str, Any]:
        used: dict[str, Any] = self.cluster.get_json("/use")
        assert {used["pid"]} == set(used["created_in"])
        return used

    def resources(self) -> list[dict[str, Any]]:
        return [item for row in self.cluster.workers() for item in row["resources"] or []]

    def let_fail(self, faults: str) -> None:
        self._faults.write_text(faults)


def test_each_worker_creates_its_own_on_first_use(cluster: StartCluster, tmp_path: Path) -> None:
    """What the zygote created at import is not used by any worker, nor closed by it."""
    service = Service(cluster, tmp_path, workers=2)
    zygote = service.cluster.zygote_pid()

    assert [("created", "base")] == service.marks(zygote)
    assert [[], []] == [row["resources"] for row in service.cluster.workers()]

    used: Counter[int] = Counter()
    while len(used) < 2:
        used[service.use()["pid"]] += 1

    assert set(used) == set(service.cluster.worker_pids())
    for pid in used:
        assert CREATED == service.marks(pid)
    assert [("created", "base")] == service.marks(zygote)


def test_the_status_shows_what_each_worker_has(cluster: StartCluster, tmp_path: Path) -> None:
    """Name, time of creation and health, in order of creation."""
    service = Service(cluster, tmp_path)
    service.use()
    eventually(
        lambda: [item["health"] for item in service.resources()] == [None, "5 of 10 in use", None],
        about="the health of the pool in the status",
    )
    shown = service.resources()

    assert NAMES == [item["name"] for item in shown]
    assert [None, True, None] == [item["healthy"] for item in shown]
    created_unix_s = [item["created_unix_s"] for item in shown]
    assert sorted(created_unix_s) == created_unix_s


def test_a_resource_that_is_not_well_stands_in_the_status(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """In JSON and below the table, with what its check raised."""
    service = Service(cluster, tmp_path, faults="pool ill")
    service.use()
    eventually(
        lambda: [item["healthy"] for item in service.resources()] == [None, False, None],
        about="an unhealthy pool in the status",
    )
    done = run_command(service.cluster, "status")

    assert (
        "worker 0: the resource resourceful.pool is not well: ConnectionError: no answer"
        in done.stdout
    )


def test_a_drain_closes_them_in_reverse_order(cluster: StartCluster, tmp_path: Path) -> None:
    """After on_drain, last created first, each once."""
    service = Service(cluster, tmp_path)
    pid = service.use()["pid"]
    service.cluster.stop()

    assert [*CREATED, *CLOSED] == service.marks(pid)
    assert "resource" not in service.cluster.log()


@pytest.mark.parametrize("command", [("reload",), ("restart", "0")], ids=lambda words: words[0])
def test_a_successor_creates_its_own(
    cluster: StartCluster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """The old worker's are closed, the new worker's are new."""
    service = Service(cluster, tmp_path)
    old = service.use()["pid"]
    assert run_command(service.cluster, *command).returncode == 0
    new = service.use()["pid"]

    assert old != new
    assert [*CREATED, *CLOSED] == service.marks(old)
    assert CREATED == service.marks(new)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("client raises", "could not be closed: ConnectionError: already gone"),
        ("client blocks", "did not close within"),
        ("pool hangs", "did not close within"),
    ],
)
def test_one_that_does_not_close_is_told_and_holds_up_no_other(
    cluster: StartCluster, tmp_path: Path, fault: str, text: str
) -> None:
    """The log names it, the rest is closed, and the worker leaves by itself."""
    name = fault.split(maxsplit=1)[0]
    service = Service(cluster, tmp_path, faults=fault)
    pid = service.use()["pid"]
    service.cluster.stop()
    expected = [*CREATED, *(item for item in CLOSED if item != ("closed", name))]

    assert expected == service.marks(pid)
    log = service.cluster.log()
    assert text in log
    assert "had not left at its drain deadline" not in log
    assert ("raises" not in fault) == (" s, then closed its resources in " in log)


def test_a_worker_that_never_got_ready_closes_what_its_factory_used(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """A stop in the midst of the boot is an end like any other."""
    service = Service(cluster, tmp_path, app="make_never", ready=False)
    waiting = eventually(
        lambda: [mark for mark in service.all_marks() if mark["event"] == "waiting"],
        about="a worker in its factory",
    )
    service.cluster.stop()
    expected = [*CREATED, ("waiting", ""), *CLOSED[1:]]

    assert expected == service.marks(waiting[0]["pid"])


def test_the_workers_of_a_script_close_theirs(script: StartScript, tmp_path: Path) -> None:
    """Before the main program is cancelled, so its finally blocks come later."""
    marks = tmp_path / "marks"
    made = script(SCRIPT, environment={"MARKS": str(marks)})
    eventually(
        lambda: [1, 1] == [len(row["resources"]) for row in made.workers()],
        about="one resource in each worker's status",
    )
    pids = made.worker_pids()
    made.stop()
    lines = marks.read_text().splitlines()

    for pid in pids:
        own = [line for line in lines if line.endswith(f" {pid}")]
        assert [f"created {pid}", f"closed {pid}", f"finally {pid}"] == own
    assert 6 == len(lines)


def test_a_worker_that_is_killed_takes_nothing_of_its_sibling(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Its successor creates anew; nothing was closed in anybody else."""
    service = Service(cluster, tmp_path, workers=2)
    used: set[int] = set()
    while len(used) < 2:
        used.add(service.use()["pid"])
    victim, sibling = service.cluster.worker_pids()
    os.kill(victim, signal.SIGKILL)
    eventually(
        lambda: (
            len(service.cluster.worker_pids()) == 2 and victim not in service.cluster.worker_pids()
        ),
        about="a successor",
    )

    assert CREATED == service.marks(sibling)
    assert CREATED == service.marks(victim)
