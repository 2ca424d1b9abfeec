"""Whether the kernel has killed a process for want of memory: what can be read of that.

Two witnesses: the kernel's own record, which names the process but is for root, and the counter of
the control group, which says that it was one of ours.
Source: kernel documentation, admin-guide/cgroup-v2 (memory.events) and cgroup-v1
(memory.oom_control); dev-kmsg. Runs in: supervisor.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

from tornado_multi.process.cgroups import UNIFIED, own_group

MOST_RECORDS = 10_000
RECORD_BYTES = 8192
MOST_NAMED = 1000
FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""Its number is the same everywhere: PROC_PID_INIT_INO in linux/proc_ns.h."""
TOGETHER_S = 1.0
"""Deaths of one shortage of memory are asked about within this time."""
KILLED = re.compile(rb"Killed process (\d+)\b")
COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomWatch:
    """Remembers what had happened before, so that a later look tells what is new."""

    def __init__(self, root: str = "/", clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to watch.

        Args: root: where /proc, /sys and /dev are found, for tests.
        """
        self._root = root
        self._clock = clock
        self._counter_path = self._find_counter()
        self._count = self._read_count()
        self._unexplained = 0
        """Steps of the counter that belong to deaths which were not asked about yet."""
        self._stepped_s = clock()
        self._kernel_fd = self._open_kernel_log()
        self._named: deque[int] = deque(maxlen=MOST_NAMED)
        """Pids that the kernel's log has named and nobody has asked for yet."""

    def evidence_for(self, pid: int | None) -> str | None:
        """Return what says that a process ended by KILL was out of memory; None: nothing does.

        Several may be killed at once: each death takes one step of the counter.
        """
        self._read_kernel_log()
        self._look_at_counter()
        is_new = self._unexplained > 0
        self._unexplained -= is_new
        if pid is not None and pid in self._named:
            self._named.remove(pid)
            return "the kernel's log names it"
        return f"oom_kill in {self._counter_path} went up" if is_new else None

    def _look_at_counter(self) -> None:
        count, now_s = self._read_count(), self._clock()
        if (
            now_s - self._stepped_s > TOGETHER_S
        ):  # the other steps were other processes of the group
            self._unexplained = 0
        if count is not None and self._count is not None and count > self._count:
            self._unexplained += count - self._count
            self._stepped_s = now_s
        self._count = count

    def _find_counter(self) -> str | None:
        unified, v1 = own_group(self._root, ""), own_group(self._root, "memory")
        places = [
            (mount, group, name)
            for mount, group, name in (
                ("sys/fs/cgroup", unified, "memory.events"),
                (UNIFIED, unified, "memory.events"),
                ("sys/fs/cgroup/memory", v1, "memory.oom_control"),
            )
            if group is not None
        ]
        for mount, group, name in places:
            # In a container the own group is usually the root of what is mounted.
            for path in (group.strip("/"), ""):
                found = os.path.join(self._root, mount, path, name)
                if os.path.exists(found):
                    return found
        return None

    def _read_count(self) -> int | None:
        if self._counter_path is None:
            return None
        try:
            with open(self._counter_path, encoding="ascii") as file:
                found = COUNTER.search(file.read())
        except OSError:
            return None
        return None if found is None else int(found[1])

    def _open_kernel_log(self) -> int | None:
        if not self._has_the_kernels_pids():
            return None  # the log would name the pids of the machine, not ours of the same number
        try:
            fd = os.open(os.path.join(self._root, "dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            os.lseek(fd, 0, os.SEEK_END)
        except OSError:  # it is no kernel log
            os.close(fd)
            return None
        return fd

    def _has_the_kernels_pids(self) -> bool:
        try:
            return os.readlink(os.path.join(self._root, "proc/self/ns/pid")) == FIRST_PID_NAMESPACE
        except OSError:
            return False

    def _read_kernel_log(self) -> None:
        """Note whom the kernel has killed since the last look."""
        if self._kernel_fd is None:
            return
        for _ in range(MOST_RECORDS):
            try:
                record = os.read(self._kernel_fd, RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:  # some were overwritten before they were read
                continue
            except OSError:
                break
            if not record:
                break
            self._named.extend(int(pid) for pid in KILLED.findall(record))
