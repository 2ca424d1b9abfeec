"""What goes wrong at a fork, shown with Tornado's own fork_processes, and absent under ``serve``.

Each program is run twice: ``plain`` shows the fault, ``served`` shows what is left of it. What no
toolkit can mend is named by the audit instead.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support.auditing import errors_at
from support.fork_bugs import ForkBug, restart_by

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process
ON_3_11 = sys.version_info < (3, 12)
PEERS = ("postgres", "redis_peer", "echo_servers")


class MakeForkBug(Protocol):
    def __call__(self, name: str, *, children: int = ..., peer: str = ...) -> ForkBug: ...


@pytest.fixture
def fork_bug(request: pytest.FixtureRequest, tmp_path: Path) -> MakeForkBug:
    """Return the program of a name, with the peer that it connects to."""

    def make(name: str, *, children: int = 1, peer: str = "") -> ForkBug:
        environment: dict[str, str] = {}
        if peer:
            environment = request.getfixturevalue(peer).environment
        return ForkBug(name, children, tmp_path / name, environment)

    return make


# --- the event loop, signals, what a child's end does ---------------------------------------------


def test_b1_a_loop_closed_in_the_child_wakes_in_the_parent(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the child takes the self-pipe out of the epoll that both share; served, it doesn't."""
    bug = fork_bug("b01_closed_loop")
    plain_s = bug.plain().parent["value"]
    served_s = bug.served(cluster).parent["value"]

    assert plain_s > 0.9, "only the timer ended the wait"
    assert served_s < plain_s / 2


def test_b2_a_signal_to_the_child_is_the_childs(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the parent's handler runs (to 3.11) or nobody's; served, the worker obeys."""
    bug = fork_bug("b02_signal_to_the_child")
    plain = bug.plain()
    served = bug.served(cluster, restart_by(lambda _, pid: os.kill(pid, signal.SIGTERM)))

    assert [{"value": "survived"}] == plain.children
    assert {"value": ["TERM"] if ON_3_11 else []} == plain.parent
    assert [{"default": True, "wakeup_fd": -1}] == served.values()
    assert {"value": []} == served.parent


def test_b3_a_temporary_directory_outlives_the_child(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, it is deleted when a child leaves; served, only the zygote may delete it."""
    bug = fork_bug("b03_temporary_directory")
    leave = restart_by(lambda made, _: made.get("/sysexit?code=0"))

    assert {"value": False} == bug.plain().parent
    assert {"value": True} == bug.served(cluster, leave).parent


def test_b4_text_in_a_buffer_is_written_once(fork_bug: MakeForkBug, cluster: StartCluster) -> None:
    """Plain, the child writes at its end what lay in the buffer at the fork; served, it doesn't."""
    bug = fork_bug("b04_unflushed_file")
    leave = restart_by(lambda made, _: made.get("/sysexit?code=0"))

    assert {"value": 2} == bug.plain().parent
    assert {"value": 1} == bug.served(cluster, leave).parent


# --- connections ----------------------------------------------------------------------------------


def test_b5_a_tls_connection_used_by_the_child_stays_the_parents(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the server hangs up on the parent; served, the child gets an error instead."""
    bug = fork_bug("b05_tls", peer="echo_servers")
    plain = bug.plain()

    assert [{"value": "from the child\n"}] == plain.children
    assert {"value": "from the parent\n"} != plain.parent
    served = bug.served(cluster)
    assert "Error" in served.children[0]["error"]
    assert {"value": "from the parent\n"} == served.parent


# --- locks, loops, generators ---------------------------------------------------------------------


def test_b6_a_lock_held_by_a_thread_at_the_fork(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, it can't be had in the child unless the app makes it anew there; served, it can."""
    bug = fork_bug("b06_held_lock")
    as_expected = {"lock": False, "mended": True, "threads": 1}

    assert [as_expected] == bug.plain().values()
    assert [as_expected | {"lock": True}] == bug.served(cluster).values()
    found = bug.audit()
    assert "error" in {item.word for item in found if item.kind == "held-lock"}
    assert bug.marks("thread") == errors_at(found, bug.marks("thread"))


def test_b7_a_loop_made_before_the_fork(fork_bug: MakeForkBug, cluster: StartCluster) -> None:
    """Plain, one worker of two can't listen: both use one epoll; served, each has its own."""
    bug = fork_bug("b07_shared_loop", children=2)
    plain = bug.plain().children

    assert [{"error": "FileExistsError: [Errno 17] File exists"}] == [
        seen for seen in plain if "error" in seen
    ]
    assert ["added", "added"] == bug.served(cluster).values()


def test_b8_a_message_for_the_parent_is_not_read_by_the_child(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the child steals it from the shared subscription; served, the zygote gets it."""
    bug = fork_bug("b08_pubsub", peer="redis_peer")
    plain = bug.plain()

    assert [{"value": "for the parent"}] == plain.children
    assert {"value": None} == plain.parent
    served = bug.served(cluster)
    assert [{"value": "for the parent"}] != served.children
    assert {"value": "for the parent"} == served.parent


def test_b9_random_numbers_differ(fork_bug: MakeForkBug, cluster: StartCluster) -> None:
    """Plain, all generators but Python's hidden one say the same in both; served, none does."""
    bug = fork_bug("b09_random_numbers", children=2)

    assert {"instance", "numpy", "generator"} == _alike(bug.plain().values())
    assert set() == _alike(bug.served(cluster).values())


# --- databases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["psycopg", "psycopg2"])
def test_b10_a_connection_closed_by_the_child_stays_the_parents(
    fork_bug: MakeForkBug, cluster: StartCluster, library: str
) -> None:
    """Plain, the server ends the session of both; served, the zygote goes on with it."""
    bug = fork_bug(f"b10_{library}_closed", peer="postgres")
    plain = bug.plain()

    assert [{"value": None}] == plain.children
    assert "server closed the connection" in plain.parent["error"]
    assert {"value": 1} == bug.served(cluster).parent


def test_b11_an_engine_disposed_of_by_the_child_keeps_the_parents_session(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the parent has lost it; served, the same process of the server answers as before."""
    bug = fork_bug("b11_engine_disposed", peer="postgres")
    plain = bug.plain().parent["value"]
    served = bug.served(cluster).parent["value"]

    assert plain["before"] != plain["now"]
    assert served["before"] == served["now"]


def test_b12_a_child_does_not_query_in_the_parents_session(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, one process of the server answers both; served, the child has its own."""
    bug = fork_bug("b12_engine_shared", peer="postgres")
    plain = bug.plain()

    assert plain.values() == [plain.parent["value"]["before"]]
    served = bug.served(cluster)
    before = served.parent["value"]["before"]
    assert served.values() != [before]
    assert served.parent == {"value": {"before": before, "now": before}}


def test_b13_a_handle_of_sqlite_with_a_transaction(
    fork_bug: MakeForkBug, cluster: StartCluster
) -> None:
    """Plain, the child can't write with it; served, one that opens its own does no harm."""
    bug = fork_bug("b13_sqlite")
    plain = bug.plain()
    served = bug.served(cluster)

    assert [{"error": "OperationalError: database is locked"}] == plain.children
    assert {"value": [1]} == plain.parent
    assert [{"value": None}] == served.children
    assert {"value": [1]} == served.parent
    assert_named(bug)


# --- logs and threads -----------------------------------------------------------------------------


def test_b14_a_log_that_each_process_opens_for_writing_loses_lines(fork_bug: MakeForkBug) -> None:
    """Of four processes' lines at most those of one and a bit are left."""
    bug = fork_bug("b14_truncated_log", children=4)

    assert bug.plain().parent["value"] < 4000
    assert_named(bug)


def test_b15_a_thread_at_the_fork_is_not_warned_of(fork_bug: MakeForkBug) -> None:
    """Python says nothing (to 3.11), or says it where nobody sees it: in a library's module."""
    bug = fork_bug("b15_thread")
    plain = bug.plain()

    assert [["MainThread"]] == plain.values()
    assert {"value": ["MainThread", "poller"]} == plain.parent
    assert "multi-threaded" not in plain.log
    assert_named(bug)


def test_b16_a_native_thread_is_not_counted(fork_bug: MakeForkBug) -> None:
    """The kernel knows two threads in the parent, Python one."""
    bug = fork_bug("b16_native_thread")
    plain = bug.plain()

    assert [{"python": 1, "kernel": 1}] == plain.values()
    assert {"value": {"python": 1, "kernel": 2}} == plain.parent
    # Without --trace nobody knows the line: no Python function was called.
    assert "error" in {item.word for item in bug.audit() if item.kind == "native-thread"}


def test_b17_helper_threads_are_not_there_in_the_child(fork_bug: MakeForkBug) -> None:
    """Neither an executor's, nor a timer, nor a queue listener's."""
    bug = fork_bug("b17_helper_threads")
    plain = bug.plain()
    parts = ("job done", "timer", "listener")

    assert [dict.fromkeys(parts, False)] == plain.values()
    assert {"value": dict.fromkeys(parts, True)} == plain.parent
    assert_named(bug)


def test_b18_a_term_at_the_moment_of_the_fork(fork_bug: MakeForkBug, cluster: StartCluster) -> None:
    """Plain, the parent's handler runs in the child; served, the worker ends and is replaced."""
    bug = fork_bug("b18_term_at_the_fork")
    (bug.plain_in / "armed-1").touch()
    plain = bug.plain()
    assert [{"value": "survived"}] == plain.children
    assert "by a child\n" == (bug.plain_in / "handled").read_text()

    def kill(made: Cluster, pid: int) -> None:
        # The intermediate process of the next fork takes the first, the worker the second.
        for number in (1, 2):
            (bug.served_in / f"armed-{number}").touch()
        os.kill(pid, signal.SIGKILL)

    served = bug.served(cluster, restart_by(kill))

    assert not (bug.served_in / "handled").exists()
    assert [] == list(bug.served_in.glob("armed-*"))
    assert "was ended by SIGTERM" in served.log


# --- what is good and must stay so ----------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "served"])
class TestControls:
    """Each holds with plain Tornado, and served."""

    def run(self, bug: ForkBug, way: str, cluster: StartCluster) -> Any:
        return bug.plain() if way == "plain" else bug.served(cluster)

    def test_a_pool_of_redis_connects_anew_in_the_child(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str
    ) -> None:
        """And the parent keeps its connection."""
        bug = fork_bug("c01_redis_pool", peer="redis_peer")
        seen = self.run(bug, way, cluster)

        assert [True] == seen.values()
        assert {"value": True} == seen.parent

    @pytest.mark.parametrize("library", ["psycopg", "psycopg2"])
    def test_a_connection_that_the_child_only_drops(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str, library: str
    ) -> None:
        """Goes on in the parent."""
        bug = fork_bug(f"c02_{library}_dropped", peer="postgres")
        seen = self.run(bug, way, cluster)

        assert [None] == seen.values()
        assert {"value": 1} == seen.parent

    def test_an_engine_that_the_child_disposes_of_without_closing(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str
    ) -> None:
        """Keeps its session in the parent; the child gets its own."""
        bug = fork_bug("c03_engine_disposed_unclosed", peer="postgres")
        seen = self.run(bug, way, cluster)
        sessions = seen.parent["value"]

        assert sessions["before"] == sessions["now"]
        assert seen.values() != [sessions["before"]]

    def test_what_differs_by_itself(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str
    ) -> None:
        """The module random, uuid4 and OpenSSL's generator."""
        bug = fork_bug("c04_randomness", children=2)

        assert set() == _alike(self.run(bug, way, cluster).values())

    def test_records_of_one_write_each_are_whole(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str
    ) -> None:
        """From four processes into one file, however it was opened, up to 200 kB."""
        bug = fork_bug("c05_appended_logs", children=4)
        whole = {"records": 4 * (200 + 50 + 10), "torn": 0}
        seen = self.run(bug, way, cluster)

        assert {
            "value": dict.fromkeys(("own_append", "inherited_append", "inherited_write"), whole)
        } == seen.parent

    def test_no_loop_runs_in_a_child_forked_by_a_running_loop(
        self, fork_bug: MakeForkBug, cluster: StartCluster, way: str
    ) -> None:
        """Its loops compare the pid."""
        bug = fork_bug("c06_running_loop")

        assert [0] == self.run(bug, way, cluster).values()


def _alike(children: list[dict[str, Any]]) -> set[str]:
    """Return the names whose values are the same in both children."""
    first, second = children
    return {name for name in first if first[name] == second[name]}


def assert_named(bug: ForkBug) -> None:
    """The audit has an error for every marked line of the program."""
    expected = bug.marks()
    found = bug.audit()

    assert expected == errors_at(found, expected), found
