"""Kernel calls that the standard library lacks, and ends of processes as data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tornado_multi.process import linux
from tornado_multi.process.exit_codes import ExitCode, died_of_signal
from tornado_multi.process.linux import (
    BLOCKABLE_SIGNALS,
    ProcessEnd,
    end_from_waitid,
    peek_ended_child,
    reap_pid,
    reap_pidfd,
    require_linux,
)

# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (ProcessEnd(exit_code=0), "exited with code 0"),
        (ProcessEnd(exit_code=3), "exited with code 3"),
        (ProcessEnd(signal_number=9), "was ended by SIGKILL"),
        (ProcessEnd(signal_number=11, core_dumped=True), "was ended by SIGSEGV, core dumped"),
        (
            ProcessEnd(signal_number=signal.SIGRTMIN + 3),
            f"was ended by signal {signal.SIGRTMIN + 3}",
        ),
    ],
)
def test_an_end_reads_as_part_of_a_sentence(end: ProcessEnd, expected: str) -> None:
    """``The worker was ended by SIGKILL``: signals by name, those without one by number."""
    assert expected == str(end)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (os.CLD_EXITED, 0, ProcessEnd(exit_code=0)),
        (os.CLD_EXITED, 255, ProcessEnd(exit_code=255)),
        (os.CLD_KILLED, 15, ProcessEnd(signal_number=15)),
        (os.CLD_DUMPED, 6, ProcessEnd(signal_number=6, core_dumped=True)),
    ],
)
def test_what_waitid_reports_becomes_an_end(code: int, status: int, expected: ProcessEnd) -> None:
    """The kernel gives a code that says how to read the status."""
    assert expected == end_from_waitid(os.waitid_result((1, 0, signal.SIGCHLD, status, code)))


# --- collecting -----------------------------------------------------------------------------------


def start(program: str) -> subprocess.Popen[bytes]:
    """Start a child that asyncio and subprocess don't wait for."""
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", program], stdin=subprocess.PIPE)


def wait_without_collecting(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def forget(process: subprocess.Popen[bytes]) -> None:
    """Tell Popen that its child is collected."""
    process.returncode = 0
    assert process.stdin is not None
    process.stdin.close()


def test_a_child_is_collected_by_its_pidfd() -> None:
    """None while it runs, its end once, then ChildProcessError: nobody has it any more."""
    process = start("import sys; sys.stdin.read(); sys.exit(7)")
    pidfd = os.pidfd_open(process.pid)

    assert reap_pidfd(pidfd) is None

    assert process.stdin is not None
    process.stdin.close()
    wait_without_collecting(process.pid)

    assert ProcessEnd(exit_code=7) == reap_pidfd(pidfd)
    with pytest.raises(ChildProcessError):
        reap_pidfd(pidfd)

    os.close(pidfd)
    forget(process)


@pytest.fixture(autouse=True)
def nobody_has_ended() -> None:
    """Collect orphans that fell to this process, which other tests made a subreaper."""
    while (pid := peek_ended_child()) is not None:
        reap_pid(pid)


def test_a_peek_collects_nothing() -> None:
    """A child that has ended can be seen as often as one likes, and collected after that."""
    process = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    wait_without_collecting(process.pid)

    assert [process.pid, process.pid] == [peek_ended_child(), peek_ended_child()]
    assert ProcessEnd(signal_number=9) == reap_pid(process.pid)
    assert peek_ended_child() is None
    assert reap_pid(process.pid) is None

    forget(process)


def test_a_running_child_is_neither_seen_nor_collected() -> None:
    """Looking never blocks."""
    process = start("import sys; sys.stdin.read()")

    assert peek_ended_child() is None
    assert reap_pid(process.pid) is None

    process.kill()
    wait_without_collecting(process.pid)

    assert ProcessEnd(signal_number=9) == reap_pid(process.pid)

    forget(process)


# --- prctl ----------------------------------------------------------------------------------------

ORPHAN = """
import os, sys
from tornado_multi.process.linux import become_child_subreaper
become_child_subreaper()
if os.fork() == 0:
    read_fd, write_fd = os.pipe()
    if os.fork() == 0:
        os.close(write_fd)
        os.read(read_fd, 1)  # end of file: the parent is gone
        os._exit(5)
    os._exit(0)
statuses = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2))
print(statuses)
"""
LEFT_BEHIND = """
import os, signal, sys
from tornado_multi.process.linux import die_with_parent_thread
ready_read, ready_write = os.pipe()
end_read, end_write = os.pipe()
os.set_inheritable(1, True)
if os.fork() == 0:
    die_with_parent_thread()
    os.write(ready_write, b"x")
    signal.pause()
os.read(ready_read, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_subreaper_gets_the_orphans_below_it() -> None:
    """A grandchild whose parent has ended becomes our child: its end reaches us."""
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, check=True)

    assert b"[0, 5]\n" == done.stdout


def test_a_child_dies_with_its_parent() -> None:
    """SIGKILL to the parent ends the child too: the pipe that only the child still held closes."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], capture_output=True, timeout=30, check=False
    )

    assert -signal.SIGKILL == done.returncode
    assert b"" == done.stdout


def test_a_refused_call_is_an_os_error() -> None:
    """The kernel's reason, and which call it was."""
    with pytest.raises(OSError, match=r"prctl\(1, 1000\)"):
        linux.die_with_parent_thread(1000)


# --- constants ------------------------------------------------------------------------------------


def test_what_is_masked_around_a_fork() -> None:
    """All but what can't be masked, and the two that tell of our own broken memory."""
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP} <= BLOCKABLE_SIGNALS
    assert set() == BLOCKABLE_SIGNALS & {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGSEGV,
        signal.SIGBUS,
    }


def test_another_system_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, which names the system and what it lacks."""
    require_linux()
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(SystemExit, match=r"runs on Linux only \(this is darwin\)"):
        require_linux()


def test_exit_codes_are_a_contract() -> None:
    """Service managers and scripts rely on the numbers."""
    assert {
        "DONE": 0,
        "NO": 1,
        "USAGE": 2,
        "BOOT_FAILED": 3,
        "ALREADY_RUNNING": 4,
        "NO_SUPERVISOR": 5,
        "BUG": 70,
        "REFUSED_BY_SYSTEM": 111,
    } == {code.name: code.value for code in ExitCode}
    assert 143 == died_of_signal(signal.SIGTERM)


def test_the_time_without_a_cpu_only_grows() -> None:
    """What the kernel counts for the main thread, in seconds."""
    before_s = linux.waited_for_cpu_s()

    assert 0 <= before_s <= linux.waited_for_cpu_s() < 10_000
