"""What says that the kernel has killed a process for want of memory, from trees of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tornado_multi.process.oom import FIRST_PID_NAMESPACE, OomWatch

if TYPE_CHECKING:
    from pathlib import Path

V2 = "0::/shop.service"
V1 = "9:memory:/shop\n0::/shop"
V2_FILE = "sys/fs/cgroup/shop.service/memory.events"
V1_FILE = "sys/fs/cgroup/memory/shop/memory.oom_control"
PLACES = {
    "version 2": (V2, V2_FILE),
    "version 2, in a container": ("0::/docker/4f2a", "sys/fs/cgroup/memory.events"),
    "version 2 beside version 1": (V2, "sys/fs/cgroup/unified/shop.service/memory.events"),
    "version 1": (V1, V1_FILE),
    "version 1, in a container": (V1, "sys/fs/cgroup/memory/memory.oom_control"),
}
RECORD = (
    "3,{number},{at},-;Memory cgroup out of memory: Killed process {pid} (python3) "
    "total-vm:216464kB, anon-rss:50000kB, oom_score_adj:0"
)


class Machine:
    """A tree in the place of /."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = 0
        self.now_s = 100.0

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def count(self, path: str, oom_kills: int) -> None:
        """Let the group's counter say so."""
        if path.endswith("memory.events"):
            text = f"low 0\nhigh 0\nmax 12\noom 3\noom_kill {oom_kills}\noom_group_kill 9\n"
        else:
            text = f"oom_kill_disable 0\nunder_oom 0\noom_kill {oom_kills}\n"
        self.write(path, text)

    def kernel_says(self, pid: int) -> None:
        """Append a record to the kernel's log."""
        self.records += 1
        with (self.root / "dev/kmsg").open("a") as log:
            log.write(RECORD.format(number=self.records, at=self.records * 1000, pid=pid) + "\n")

    def pid_namespace(self, name: str) -> None:
        """Say in which namespace this process has its pid."""
        link = self.root / "proc/self/ns/pid"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    def watch(self) -> OomWatch:
        return OomWatch(str(self.root), lambda: self.now_s)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- the counter of the group ---------------------------------------------------------------------


@pytest.mark.parametrize(("own", "path"), PLACES.values(), ids=PLACES)
def test_a_counter_that_went_up_is_evidence_and_named(
    machine: Machine, own: str, path: str
) -> None:
    """Each version, and the own group as the root of what is mounted."""
    machine.write("proc/self/cgroup", own + "\n")
    machine.count(path, 2)
    watch = machine.watch()

    assert None is watch.evidence_for(200)

    machine.count(path, 3)

    assert f"oom_kill in {machine.root / path} went up" == watch.evidence_for(200)


def test_one_step_of_the_counter_explains_one_death(machine: Machine) -> None:
    """A later KILL by somebody else is not put down to the same record."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 0)
    watch = machine.watch()
    machine.count(V2_FILE, 1)

    assert watch.evidence_for(200)
    assert None is watch.evidence_for(201)


def test_two_kills_at_once_explain_two_deaths(machine: Machine) -> None:
    """The counter may have gone up by two before the first death is looked at."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 0)
    watch = machine.watch()
    machine.count(V2_FILE, 2)

    assert [True, True, False] == [watch.evidence_for(pid) is not None for pid in (200, 201, 202)]


def test_a_step_that_nobody_asked_about_is_forgotten(machine: Machine) -> None:
    """A child of the app was killed beside the worker: later deaths are not put down to that."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 0)
    watch = machine.watch()
    machine.count(V2_FILE, 2)

    assert watch.evidence_for(200)

    machine.now_s += 2.0

    assert None is watch.evidence_for(201)


def test_what_was_counted_before_the_service_began_is_not_ours(machine: Machine) -> None:
    """A container that was started anew in its old group has old counts."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 41)

    assert None is machine.watch().evidence_for(200)


@pytest.mark.parametrize("text", ["", "oom 3\n", "oom_kill many\n", "oom_kill_disable 1\n"])
def test_a_file_that_is_not_understood_says_nothing(machine: Machine, text: str) -> None:
    """Old kernels do not count; no report is made up."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.write(V2_FILE, text)
    watch = machine.watch()

    assert None is watch.evidence_for(200)


def test_a_counter_that_goes_backwards_begins_anew(machine: Machine) -> None:
    """Fewer than before is another group's counter: no step, and further ones count from there."""
    machine.write("proc/self/cgroup", V2)
    machine.count(V2_FILE, 7)
    watch = machine.watch()
    machine.count(V2_FILE, 2)

    assert None is watch.evidence_for(7)

    machine.count(V2_FILE, 3)

    assert "oom_kill" in str(watch.evidence_for(8))


def test_a_file_that_is_gone_says_nothing(machine: Machine) -> None:
    """And one that comes back begins a new count."""
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 1)
    watch = machine.watch()
    (machine.root / V2_FILE).unlink()

    assert None is watch.evidence_for(200)

    machine.count(V2_FILE, 5)

    assert None is watch.evidence_for(201)


def test_without_control_groups_nothing_is_said(machine: Machine) -> None:
    """Neither at the start nor at a death."""
    assert None is machine.watch().evidence_for(200)


# --- the kernel's log -----------------------------------------------------------------------------


@pytest.fixture
def kmsg(machine: Machine) -> Machine:
    """A machine whose kernel log can be read: a plain file, read from its end on."""
    machine.write("dev/kmsg", "6,1,0,-;Linux version 6.1\n")
    machine.pid_namespace(FIRST_PID_NAMESPACE)
    machine.kernel_says(200)
    return machine


def test_a_record_that_names_the_process_is_evidence(kmsg: Machine) -> None:
    """The only one that says who it was."""
    watch = kmsg.watch()
    kmsg.kernel_says(200)

    assert "the kernel's log names it" == watch.evidence_for(200)


def test_a_record_of_before_the_service_is_not_ours(kmsg: Machine) -> None:
    """Pids come again."""
    assert None is kmsg.watch().evidence_for(200)


def test_pids_of_another_namespace_are_not_compared(kmsg: Machine) -> None:
    """A container that may read the machine's log finds the machine's pids there."""
    kmsg.pid_namespace("pid:[4026532201]")
    watch = kmsg.watch()
    kmsg.kernel_says(200)

    assert None is watch.evidence_for(200)


@pytest.mark.parametrize("pid", [20, 2001, 100, None])
def test_a_record_about_another_process_is_no_evidence(kmsg: Machine, pid: int | None) -> None:
    """Numbers are compared whole."""
    watch = kmsg.watch()
    kmsg.kernel_says(200)

    assert None is watch.evidence_for(pid)


def test_two_records_in_a_row_are_both_found(kmsg: Machine) -> None:
    """The second is read with the first, and its process's death is looked at later."""
    watch = kmsg.watch()
    kmsg.kernel_says(200)
    kmsg.kernel_says(201)

    assert [True, True] == [watch.evidence_for(pid) is not None for pid in (200, 201)]


def test_who_is_named_is_not_counted_for_somebody_else(kmsg: Machine) -> None:
    """The counter's step belongs to the death that the log has explained."""
    kmsg.write("proc/self/cgroup", V2 + "\n")
    kmsg.count(V2_FILE, 0)
    watch = kmsg.watch()
    kmsg.kernel_says(200)
    kmsg.count(V2_FILE, 1)

    assert "the kernel's log names it" == watch.evidence_for(200)
    assert None is watch.evidence_for(201)


def test_a_log_that_can_not_be_read_is_done_without(machine: Machine) -> None:
    """For all but root: the counter remains; a pipe in its place is no log."""
    machine.pid_namespace(FIRST_PID_NAMESPACE)
    (machine.root / "dev").mkdir()
    os.mkfifo(machine.root / "dev/kmsg")
    machine.write("proc/self/cgroup", V2 + "\n")
    machine.count(V2_FILE, 0)
    watch = machine.watch()
    machine.count(V2_FILE, 1)

    assert str(watch.evidence_for(200)).startswith("oom_kill in ")
