"""Hooks: each in its process, when it is due, and harmless when it raises or hangs."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import processes
from support.cluster import REPOSITORY
from support.commands import run_command
from support.waiting import eventually

from tornado_multi.hooks import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

PAGE = REPOSITORY / "docs" / "reference" / "hooks.md"
WRITE = "WRITE_HOOKS_PAGE"
"""With this in the environment the page's table is written from what is seen here."""
TIMEOUT_S = 0.3
OWN_PROCESS = ("on_worker_exit", "on_reload")
NEW_GENERATION = ("on_starting", "before_fork", "after_fork", "on_ready")
"""Hooks whose failure is a failure of the reload that they belong to."""
FAULTS = ("raises", "hangs")
SAID = {
    "raises": "{hook} failed: LookupError: no such thing",
    "hangs": "{hook} did not return within 0.3 s (hook_timeout_s).",
}
BY_SETTING = tuple(
    word for name in NAMES for word in (f"--{name.replace('_', '-')}", f"hooked:{name}")
)


class Service:
    """A cluster whose hooks record what they see, and misbehave on demand."""

    def __init__(
        self,
        cluster: StartCluster,
        directory: Path,
        app: str = "hooked:make_app",
        *,
        faults: str = "",
        timeout_s: float = TIMEOUT_S,
        options: Sequence[str] = (),
        **more: Any,
    ) -> None:
        self.directory = directory
        self.record = directory / "record"
        self.record.touch()
        self.let_fail(faults)
        self.cluster = cluster(
            app,
            options=["--hook-timeout-s", str(timeout_s), "--drain-idle-s", "0", *options],
            environment={
                "HOOK_RECORD": str(self.record),
                "HOOK_FAULTS": str(directory / "faults"),
            },
            **more,
        )

    def let_fail(self, faults: str) -> None:
        (self.directory / "faults").write_text(faults)

    def calls(self, hook: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [call for call in found if hook in {None, call["hook"]}]

    def wait_for_calls(self, hook: str, count: int) -> list[dict[str, Any]]:
        """Return the calls of a hook, which must become *count*, and no more."""
        eventually(lambda: len(self.calls(hook)) >= count, about=f"{count} calls of {hook}")
        found = self.calls(hook)
        assert count == len(found), found
        return found

    def wait_said(self, text: str) -> None:
        eventually(lambda: text in self.cluster.log(), about=f"{text!r} in the log")

    def reload(self) -> dict[str, Any]:
        done = run_command(self.cluster, "reload", "--json")
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["report"]
        assert done.returncode == (0 if report["succeeded"] else 1)
        return report

    def hook_processes(self) -> list[processes.Process]:
        return [item for item in self.cluster.leftovers() if ": hook " in item.title]


@dataclass(frozen=True)
class Tree:
    """Who was who when hooks were called."""

    supervisor: int
    zygotes: frozenset[int]
    workers: frozenset[int]

    def role(self, call: dict[str, Any]) -> str:
        if call["pid"] in self.zygotes:
            return "zygote"
        if call["pid"] in self.workers:
            return "worker, on its loop" if call["loop"] else "worker, before its loop"
        assert self.supervisor == call["parent_pid"]
        return "a process of its own"


# --- when and where -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """The life of a service: what its hooks recorded, and what there was to be called for."""

    calls: list[dict[str, Any]]
    tree: Tree
    counts: dict[str, int]


LIVES: dict[str, Life] = {}
"""What the tests of this file have seen so far; the table is made from it."""


def live(service: Service) -> Life:
    """Start, kill one worker, reload, stop; return what was called meanwhile."""
    made = service.cluster
    zygotes, workers = {made.zygote_pid()}, set(made.worker_pids())
    service.wait_for_calls("on_ready", 2)  # a worker says that it is ready before it calls it
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    eventually(lambda: len(set(made.worker_pids()) - workers) == 1)
    workers |= set(made.worker_pids())
    assert service.reload()["succeeded"]
    zygotes.add(made.zygote_pid())
    workers |= set(made.worker_pids())
    assert made.get("/").isdigit()
    assert made.stop() == 0
    counts = {"generation": 2, "worker": 5, "worker that drains": 4, "reload": 1}
    tree = Tree(made.pid, frozenset(zygotes), frozenset(workers))
    return Life(service.calls(), tree, counts)


MODES = {
    "by name": ("hooked:make_app", ()),
    "by setting": ("hello:make_app", BY_SETTING),
    "by name, lazy": ("hooked:make_app", ("--boot", "lazy")),
    "by setting, lazy": ("hello:make_app", ("--boot", "lazy", *BY_SETTING)),
}
EXPECTED = {
    "on_starting": ("zygote", 2),
    "before_fork": ("zygote", 5),
    "after_fork": ("worker, before its loop", 5),
    "on_ready": ("worker, on its loop", 5),
    "on_drain": ("worker, on its loop", 4),
    "on_worker_exit": ("a process of its own", 5),
    "on_reload": ("a process of its own", 1),
}


@pytest.mark.parametrize("mode", MODES)
def test_each_hook_runs_once_in_its_process(
    cluster: StartCluster, tmp_path: Path, mode: str
) -> None:
    """Two workers, one killed, one reload, one stop: the calls, their processes and arguments."""
    app, options = MODES[mode]
    life = live(Service(cluster, tmp_path, app, options=options))
    LIVES[mode] = life
    by_name = {"on_ready", "on_drain"} if mode == "by name, lazy" else set(NAMES)

    assert {name: count for name, (_, count) in EXPECTED.items() if name in by_name} == Counter(
        call["hook"] for call in life.calls
    )
    for call in life.calls:
        assert EXPECTED[call["hook"]][0] == life.tree.role(call), call
        assert call["is_main_thread"]


def test_the_arguments_say_what_happened(cluster: StartCluster, tmp_path: Path) -> None:
    """fork_ids before and after the fork, a report for each worker's end and each reload."""
    service = Service(cluster, tmp_path)
    made = service.cluster
    old = {row["pid"]: row for row in made.workers()}
    killed = made.worker(1)["pid"]
    os.kill(killed, signal.SIGKILL)
    killed_report = service.wait_for_calls("on_worker_exit", 1)[0]["arguments"][0]
    eventually(lambda: len(made.workers()) == 2)
    report = service.reload()
    reload_report = service.wait_for_calls("on_reload", 1)[0]["arguments"][0]
    assert made.stop() == 0
    ends = [call["arguments"][0] for call in service.calls("on_worker_exit")]

    for name in ("before_fork", "after_fork"):
        assert [[0], [0], [1], [1], [1]] == sorted(
            call["arguments"] for call in service.calls(name)
        )
    for name in ("on_starting", "on_ready", "on_drain"):
        assert [[]] == [*{tuple(call["arguments"]): [] for call in service.calls(name)}.values()]
    assert (1, killed, 1, 9, None, False, True, "was ended by SIGKILL") == (
        killed_report["fork_id"], killed_report["pid"], killed_report["generation"],
        killed_report["signal"], killed_report["exit_code"], killed_report["was_asked"],
        killed_report["was_ready"], killed_report["end"],
    )  # fmt: skip
    assert killed in old
    assert 5 == len({end["pid"] for end in ends})
    assert [True] * 4 == [end["was_asked"] for end in ends[1:]]
    assert [0] * 4 == [end["exit_code"] for end in ends[1:]]
    assert {2} == {end["generation"] for end in ends[3:]}
    assert report["duration_s"] == pytest.approx(reload_report["duration_s"], abs=0.001)
    assert (True, 2, 1) == (
        reload_report["succeeded"], reload_report["generation"], reload_report["number"],
    )  # fmt: skip


def test_hooks_are_called_in_order(cluster: StartCluster, tmp_path: Path) -> None:
    """One worker: the zygote's start, the fork from both sides, ready, drain, exit."""
    service = Service(cluster, tmp_path, workers=1)
    service.wait_for_calls("on_ready", 1)
    assert service.cluster.stop() == 0

    assert [
        "on_starting", "before_fork", "after_fork", "on_ready", "on_drain", "on_worker_exit",
    ] == [call["hook"] for call in service.calls()]  # fmt: skip


def test_async_hooks_are_awaited(cluster: StartCluster, tmp_path: Path) -> None:
    """on_ready and on_drain may be async; elsewhere an async function is reported, not called."""
    service = Service(cluster, tmp_path, "hooked_async:make_app", workers=1)
    service.wait_for_calls("on_ready done", 1)
    service.wait_said("after_fork is async; only on_ready and on_drain may be.")
    assert service.cluster.stop() == 0

    assert 1 == len(service.calls("on_drain done"))


def test_a_failed_reload_is_told_too(cluster: StartCluster, tmp_path: Path) -> None:
    """on_reload gets the reason; the old generation's zygote calls it."""
    service = Service(cluster, tmp_path, workers=1)
    service.let_fail("on_starting raises")
    report = service.reload()
    told = service.wait_for_calls("on_reload", 1)[0]["arguments"][0]

    assert (False, False) == (report["succeeded"], told["succeeded"])
    assert told["reason"] == report["reason"]


def test_a_worker_that_fails_to_boot_has_an_exit_too(cluster: StartCluster, tmp_path: Path) -> None:
    """The service ends with 3, and on_worker_exit is called for the worker."""
    service = Service(
        cluster, tmp_path, "factory_raises:make_app", workers=1, options=BY_SETTING, ready=False
    )

    assert service.cluster.wait_gone() == 3
    report = service.calls("on_worker_exit")[0]["arguments"][0]
    assert (0, 3, False) == (report["fork_id"], report["exit_code"], report["was_ready"])


def test_a_named_hook_that_is_not_there_is_a_mistake_of_usage(cluster: StartCluster) -> None:
    """Exit code 2 and one sentence; at a reload the old generation serves on."""
    made = cluster(ready=False, options=["--on-ready", "hooked:no_such"])

    assert made.wait_gone() == 2
    assert "The hook on_ready=hooked:no_such is no function" in made.log()
    assert "Traceback" not in made.log()


def test_hooks_are_taken_from_the_file_at_a_reload(cluster: StartCluster, tmp_path: Path) -> None:
    """A hook that is new in the configuration file counts from the next generation on."""
    file = tmp_path / "settings.toml"
    file.write_text("")
    service = Service(
        cluster, tmp_path, "hello:make_app", workers=1, options=["--config", str(file)]
    )
    file.write_text('on_ready = "hooked:on_ready"\n')
    assert service.reload()["succeeded"]
    service.wait_for_calls("on_ready", 1)
    file.write_text('on_ready = "hooked:no_such"\n')
    report = service.reload()

    assert not report["succeeded"]
    assert "hooked:no_such is no function" in report["reason"]
    assert service.cluster.get("/").isdigit()


# --- faults ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a service one of whose hooks fails at every call."""

    who: str
    reload_succeeded: bool


OUTCOMES: dict[tuple[str, str], Outcome] = {}
"""(hook, fault) -> what the tests of this file have seen so far."""


def live_with_fault(cluster: StartCluster, directory: Path, hook: str, fault: str) -> Outcome:
    """Let a hook fail from the start on: boot, serve, reload, stop."""
    service = Service(cluster, directory, faults=f"{hook} {fault}")
    made = service.cluster
    said = SAID[fault].format(hook=hook)
    assert made.get("/").isdigit()
    pids = made.worker_pids()
    if hook in NEW_GENERATION:
        service.wait_said(said)
    report = service.reload()
    served = made.get("/").isdigit()
    now = made.worker_pids()
    assert made.stop() == 0
    lines = [line for line in made.log().splitlines() if said in line]
    who = {line.split(": error: ")[0].split(" ")[2] for line in lines if ": error: " in line}

    assert served
    assert len(who - {"supervisor"} or who) == 1, made.log()
    assert 'hooked.py", line' in made.log()
    assert f'misbehave("{hook}")' in made.log()
    assert made.log().count("[BUG]") == 0
    if report["succeeded"]:
        assert not set(pids) & set(now)
    else:
        assert pids == now
        assert said in report["reason"]
        assert 'hooked.py", line' in report["detail"]
    return Outcome((who - {"supervisor"} or who).pop(), report["succeeded"])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("hook", NAMES)
def test_a_hook_that_fails_is_reported_and_the_service_lives(
    cluster: StartCluster, tmp_path: Path, hook: str, fault: str
) -> None:
    """The user's line in the log, answers, and 0 at the stop; a new generation's hook fails its reload."""
    outcome = live_with_fault(cluster, tmp_path, hook, fault)
    OUTCOMES[hook, fault] = outcome

    assert (hook not in NEW_GENERATION) == outcome.reload_succeeded


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("hook", NEW_GENERATION)
def test_a_failing_hook_of_the_new_generation_fails_the_reload(
    cluster: StartCluster, tmp_path: Path, hook: str, fault: str
) -> None:
    """Exit 1 with the reason, old pids unchanged; mended, the next reload works. One worker too."""
    service = Service(cluster, tmp_path, workers=1)
    pids = service.cluster.worker_pids()
    service.let_fail(f"{hook} {fault}")
    report = service.reload()
    kept = service.cluster.worker_pids()
    service.let_fail("")

    assert not report["succeeded"]
    assert SAID[fault].format(hook=hook) in report["reason"]
    assert pids == kept
    assert service.reload()["succeeded"]
    assert not set(pids) & set(service.cluster.worker_pids())


@pytest.mark.parametrize("fault", ["raises", "awaits", "hangs", "ignores"])
@pytest.mark.parametrize("hook", ["on_ready", "on_drain"])
def test_an_async_hook_that_fails_is_reported(
    cluster: StartCluster, tmp_path: Path, hook: str, fault: str
) -> None:
    """One that raises, waits for ever, blocks the loop, or ignores its cancellation."""
    service = Service(
        cluster, tmp_path, "hooked_async:make_app", faults=f"{hook} {fault}", workers=1
    )
    if hook == "on_ready":
        service.wait_said(SAID["raises" if fault == "raises" else "hangs"].format(hook=hook))
    assert service.cluster.get("/").isdigit()
    assert service.cluster.stop() == 0

    assert SAID["raises" if fault == "raises" else "hangs"].format(hook=hook) in (
        service.cluster.log()
    )
    assert ("hooked_async.py" in service.cluster.log()) == (fault != "ignores")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("segfaults", "The process of {hook} was ended by SIGSEGV"),
        ("exits", "The process of {hook} exited with code 9."),
        ("leaves", "{hook} failed: sys.exit(4)"),
    ],
)
@pytest.mark.parametrize("hook", OWN_PROCESS)
def test_a_hook_process_that_dies_is_reported(
    cluster: StartCluster, tmp_path: Path, hook: str, fault: str, said: str
) -> None:
    """It takes nobody with it."""
    service = Service(cluster, tmp_path, faults=f"{hook} {fault}")
    assert service.reload()["succeeded"]
    pids = service.cluster.worker_pids()
    service.wait_said(said.format(hook=hook))

    assert service.cluster.get("/").isdigit()
    assert pids == service.cluster.worker_pids()
    assert service.cluster.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("hook", OWN_PROCESS)
def test_a_hook_that_ignores_its_interruption_is_killed(
    cluster: StartCluster, tmp_path: Path, hook: str
) -> None:
    """hook_timeout_s and a grace later its process is gone; also while the service stops."""
    service = Service(cluster, tmp_path, faults=f"{hook} stubborn", workers=1)
    assert service.reload()["succeeded"]
    service.wait_said(
        f"The process of {hook} did not end within 0.3 s (hook_timeout_s) and was killed."
    )
    assert service.cluster.stop() == 0

    assert [] == service.hook_processes()


@pytest.mark.parametrize("hook", NAMES)
def test_children_of_hooks_are_collected(cluster: StartCluster, tmp_path: Path, hook: str) -> None:
    """What a hook forks and does not wait for is no zombie at the end, and no worker's end."""
    service = Service(cluster, tmp_path, faults=f"{hook} forks", workers=1)
    assert service.reload()["succeeded"]
    if hook in OWN_PROCESS:
        eventually(lambda: service.cluster.status()["strangers_reaped"] >= 3)
        # One that has ended this moment may not be collected yet; one that stays is the fault.
        pid = service.cluster.pid
        eventually(lambda: "Z" not in [item.state for item in processes.children(pid)])
    assert service.cluster.stop() == 0

    assert "young death" not in service.cluster.log()
    assert "code 5" not in service.cluster.log()


@pytest.mark.parametrize("hook", NAMES)
def test_a_hook_may_print(cluster: StartCluster, tmp_path: Path, hook: str) -> None:
    """Its text comes out once per call: buffers are neither lost nor written twice."""
    service = Service(cluster, tmp_path, faults=f"{hook} prints", workers=1)
    assert service.reload()["succeeded"]
    assert service.cluster.stop() == 0
    calls = len(service.calls(hook))

    assert calls > 0
    assert calls == service.cluster.output().count("printed by a hook\n")


def test_a_thread_left_in_the_zygote_is_reported(cluster: StartCluster, tmp_path: Path) -> None:
    """before_fork must leave no thread; the service lives."""
    service = Service(cluster, tmp_path, faults="before_fork leaves_thread", workers=1)
    service.wait_said("before_fork left the thread 'stray' running")

    assert service.cluster.get("/").isdigit()
    assert service.cluster.stop() == 0


def test_a_zygote_that_dies_does_not_take_a_hook_with_it(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Kill -9 of the zygote while a hook's process runs: it is reported as always, all goes on."""
    service = Service(
        cluster,
        tmp_path,
        faults="on_worker_exit hangs",
        workers=1,
        timeout_s=5.0,
    )
    killed = service.cluster.worker_pids()
    os.kill(killed[0], signal.SIGKILL)
    # The zygote forks one after the other: by then it has announced the hook's process.
    eventually(lambda: set(service.cluster.worker_pids()) - set(killed))
    assert 1 == len(service.hook_processes())
    zygote = service.cluster.zygote_pid()
    os.kill(zygote, signal.SIGKILL)
    service.wait_said("on_worker_exit did not return within 5 s (hook_timeout_s).")
    service.let_fail("")
    eventually(lambda: not service.hook_processes())
    eventually(
        lambda: [
            item
            for item in service.cluster.status()["zygotes"]
            if item["state"] == "ready" and item["pid"] != zygote
        ]
    )

    assert service.cluster.get("/").isdigit()
    assert service.cluster.stop() == 0


@pytest.mark.parametrize("hook", ["on_worker_exit", "on_ready", "before_fork"])
def test_a_supervisor_that_is_killed_takes_hooks_with_it(
    cluster: StartCluster, tmp_path: Path, hook: str
) -> None:
    """No process of a hook outlives it, not even one that can't be interrupted."""
    service = Service(cluster, tmp_path, workers=1)
    made = service.cluster
    service.let_fail(f"{hook} stubborn")
    before = len(service.calls(hook))
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    service.wait_for_calls(hook, before + 1)
    made.signal(signal.SIGKILL)
    made.process.wait(10)
    eventually(lambda: not made.leftovers(), within_s=10, about="processes of the tree")
    made.control.unlink()
    made.control.with_name(made.control.name + ".lock").unlink()


def test_hooks_run_at_a_hurried_stop(cluster: StartCluster, tmp_path: Path) -> None:
    """INT: on_worker_exit is still called for each worker."""
    service = Service(cluster, tmp_path)
    service.cluster.signal(signal.SIGINT)

    assert service.cluster.wait_gone() == 0
    service.wait_for_calls("on_worker_exit", 2)


@pytest.mark.parametrize("app", ["hooked", "hooked_async"])
def test_a_hurried_stop_leaves_on_drain_little_time(
    cluster: StartCluster, tmp_path: Path, app: str
) -> None:
    """INT: a hook that hangs holds it up no longer than a moment, and no worker is killed for it."""
    service = Service(
        cluster, tmp_path, f"{app}:make_app", faults="on_drain hangs", workers=1, timeout_s=3600.0
    )
    service.cluster.signal(signal.SIGINT)

    assert service.cluster.wait_gone() == 0
    assert re.search(
        r"on_drain did not return within (0\.1 s \(the drain's time\)|the drain's time)\.",
        service.cluster.log(),
    )


def test_a_second_int_ends_hooks_too(cluster: StartCluster, tmp_path: Path) -> None:
    """Who can't wait does not have to wait for a hook."""
    service = Service(
        cluster,
        tmp_path,
        faults="on_worker_exit stubborn",
        workers=1,
        timeout_s=3600.0,
    )
    service.cluster.signal(signal.SIGINT)
    service.wait_for_calls("on_worker_exit", 1)

    def ended() -> bool:
        if service.cluster.process.poll() is None:
            service.cluster.signal(signal.SIGINT)
        return service.cluster.process.poll() is not None

    eventually(ended, every_s=0.2)


# --- the page -------------------------------------------------------------------------------------

MOMENTS = {
    "on_starting": "after the import, once per {}",
    "before_fork": "before the fork, once per {}",
    "after_fork": "after the fork, once per {}",
    "on_ready": "when it accepts, once per {}",
    "on_drain": "when it begins to leave, once per {}",
    "on_worker_exit": "when it has ended, once per {}",
    "on_reload": "when it has ended, once per {}",
}
ARGUMENTS = {"int": "`fork_id`", "dict": "`report`"}
MAY_BE_ASYNC = {"on_ready", "on_drain"}
HEAD = (
    "| hook | process | when | arguments | if it raises | if it hangs |",
    "| - | - | - | - | - | - |",
)


def row(hook: str, life: Life) -> str:
    """Return a hook's row of the table, from what was seen."""
    calls = [call for call in life.calls if call["hook"] == hook]
    roles = {life.tree.role(call) for call in calls}
    arguments = {tuple(type(item).__name__ for item in call["arguments"]) for call in calls}
    assert (1, 1) == (len(roles), len(arguments))
    per = [what for what, count in life.counts.items() if count == len(calls)]
    words = ", ".join(ARGUMENTS[kind] for kind in arguments.pop()) or "none"
    cells = [f"`{hook}`", roles.pop(), MOMENTS[hook].format(per[0]), words]
    for fault in FAULTS:
        outcome = OUTCOMES[hook, fault]
        doing = "reported" if fault == "raises" else "interrupted and reported"
        consequence = "" if outcome.reload_succeeded else "; fails the reload of its generation"
        cells.append(f"{doing} by {outcome.who}{consequence}")
    return f"| {' | '.join(cells)} |"


def test_the_page_says_what_was_seen(cluster: StartCluster, tmp_path: Path) -> None:
    """The table of docs/reference/hooks.md is made here, from observed calls and failures."""
    if "by name" not in LIVES:
        LIVES["by name"] = live(Service(cluster, tmp_path))
    for hook in NAMES:
        for fault in FAULTS:
            if (hook, fault) not in OUTCOMES:
                directory = tmp_path / f"{hook}-{fault}"
                directory.mkdir()
                OUTCOMES[hook, fault] = live_with_fault(cluster, directory, hook, fault)
    table = "\n".join([*HEAD, *(row(hook, LIVES["by name"]) for hook in NAMES)])
    if os.environ.get(WRITE):
        PAGE.write_text("".join([*_around_the_table(table)]))
    before, inside, after = _around_the_table()

    assert table == inside, f"run this test with {WRITE}=1"
    assert before.endswith("\n\n")
    assert after.startswith("\n\n")


def _around_the_table(table: str | None = None) -> tuple[str, str, str]:
    """Return the page before, in and after its table, or with another table."""
    page = PAGE.read_text()
    begin = page.index(HEAD[0])
    end = page.index("\n\n", begin)
    return page[:begin], page[begin:end] if table is None else table, page[end:]


def test_the_page_explains_the_reports(cluster: StartCluster, tmp_path: Path) -> None:
    """Each key of on_worker_exit's report has its row; on_reload's are those of the status."""
    service = Service(cluster, tmp_path, workers=1)
    assert service.reload()["succeeded"]
    told = service.wait_for_calls("on_reload", 1)[0]["arguments"][0]
    last_reload = service.cluster.status()["last_reload"]
    assert service.cluster.stop() == 0
    ended = service.calls("on_worker_exit")[0]["arguments"][0]
    part = PAGE.read_text().partition("## The report of `on_worker_exit`")[2].partition("\n## ")[0]

    assert [*ended] == re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
    assert set(told) == set(last_reload)
