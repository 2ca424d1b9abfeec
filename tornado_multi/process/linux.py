"""Calls of the Linux kernel that the standard library lacks, and ends of processes as data.

The only module that uses ctypes. Nothing is loaded before the first call.
Source: prctl(2), pidfd_open(2), waitid(2).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36

STACKS_SIGNAL = signal.SIGRTMAX - 3
"""On this signal a worker writes its main thread's stack; far from the numbers that libraries take."""

BLOCKABLE_SIGNALS = frozenset(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS}
)
"""What is masked around a fork: everything but what cannot be or must not be masked."""


@lru_cache(maxsize=1)
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    import ctypes

    if _libc().prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {argument}): {os.strerror(number)}")


def become_child_subreaper() -> None:
    """Make orphaned descendants of this process its children. Runs in: supervisor, once."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent_thread(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel for *signal_number* when the parent's thread that started us ends.

    The setting is cleared by fork and by an exec that changes identity. If the parent ended
    before the call, nothing comes: compare ``os.getppid()`` afterwards.
    Runs in: zygote, worker.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)


def make_dumpable() -> None:
    """Let this process read its own /proc entries after a change of identity. Runs in: zygote."""
    _prctl(PR_SET_DUMPABLE, 1)


def open_files_as(user_id: int, group_id: int) -> None:
    """Let this thread, and no other, open and make files with the rights of another user.

    Supplementary groups stay, because the kernel has no call for those of one thread that the C
    library offers. Source: setfsuid(2). Raises: PermissionError: the system refused.
    Runs in: supervisor, in a thread that writes the app's log files.
    """
    libc, nobody = _libc(), -1
    libc.setfsgid(group_id)
    libc.setfsuid(user_id)
    # They report no failure: the answer is what was set before, and this sets nothing.
    now = tuple(call(nobody) & 0xFFFF_FFFF for call in (libc.setfsuid, libc.setfsgid))
    if now != (user_id, group_id):
        text = f"the rights of user {user_id} can't be taken on"
        raise PermissionError(errno.EPERM, text)


def process_age_s() -> float:
    """Return how long ago this process was started. Source: proc(5), field starttime."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def waited_for_cpu_s() -> float:
    """Return how long the main thread of this process has been ready to run and had no CPU.

    0 where the kernel does not count it. Source: sched-stats of the kernel's documentation.
    """
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def is_stopped(pid: int | None) -> bool:
    """Tell whether a process is stopped by a signal or a tracer. Source: proc(5), field state."""
    if pid is None:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False


SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
_DROP_SYN = (
    # code, jump if true, jump if false, operand: linux/filter.h. Offsets count from the TCP header.
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


def refuse_new_connections(listener: socket.socket) -> None:
    """Let no further connection begin on a listener; those that have begun can be accepted.

    TCP: further SYNs are dropped, so that a client tries again and is refused once the listener is
    closed; handshakes under way still end. Unix: connect(2) is refused from now on. In both cases
    what is queued stays, where a plain close would reset it.
    Source: socket(7), SO_ATTACH_FILTER; unix(7). Runs in: supervisor, at the stop of a service.
    """
    if listener.family == socket.AF_UNIX:
        listener.shutdown(socket.SHUT_RD)
        return
    import ctypes

    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _DROP_SYN)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(_DROP_SYN), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)


def allow_new_connections(listener: socket.socket) -> None:
    """Take back what ``refuse_new_connections`` did to a TCP listener.

    Source: socket(7), SO_DETACH_FILTER. Runs in: supervisor.
    """
    listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended: exactly one of the two is not None."""

    exit_code: int | None = None
    signal_number: int | None = None
    core_dumped: bool = False

    def __str__(self) -> str:
        if self.signal_number is not None:
            try:
                name = signal.Signals(self.signal_number).name
            except ValueError:
                name = f"signal {self.signal_number}"
            return f"was ended by {name}" + (", core dumped" if self.core_dumped else "")
        return f"exited with code {self.exit_code}"


def end_from_waitid(result: os.waitid_result) -> ProcessEnd:
    """Translate what waitid(2) reported (si_code, si_status)."""
    if result.si_code == os.CLD_EXITED:
        return ProcessEnd(exit_code=result.si_status)
    return ProcessEnd(signal_number=result.si_status, core_dumped=result.si_code == os.CLD_DUMPED)


def reap_pidfd(pidfd: int) -> ProcessEnd | None:
    """Collect the end of one child by its pidfd, or None while it runs. Blocks: never.

    Raises: ChildProcessError: it isn't our child, or somebody has collected it.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    return None if result is None else end_from_waitid(result)


def peek_ended_child() -> int | None:
    """Return the pid of some child that has ended and is not collected yet, or None.

    The child stays collectable (WNOWAIT). Runs in: supervisor.
    """
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if result is None else result.si_pid


def reap_pid(pid: int) -> ProcessEnd | None:
    """Collect the end of one child by its pid, or None while it runs. Blocks: never."""
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    return None if result is None else end_from_waitid(result)


def require_linux() -> None:
    """Leave with one sentence where the mechanics don't exist. Runs in: any command."""
    if sys.platform != "linux":
        sys.exit(
            f"tornado_multi runs on Linux only (this is {sys.platform}): it is built on pidfd, "
            "child subreapers, parent-death signals and memfd."
        )


def keep_for_ever(kept: object) -> None:
    """Make sure that *kept* is never destroyed, not even when the interpreter ends.

    For what belongs to the process that this one was forked from: destroying it here would end the
    sessions of its owner. Runs in: any process.
    """
    _increment()(kept)


@lru_cache(maxsize=1)
def _increment() -> Any:
    import ctypes

    increment = ctypes.pythonapi.Py_IncRef
    increment.argtypes, increment.restype = [ctypes.py_object], None
    return increment
