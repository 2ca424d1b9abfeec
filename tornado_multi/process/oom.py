"""Whether the kernel has killed a process for want of memory: what can be read of that.

Two witnesses: the kernel's own record, which names the process but is for root, and the counter of
the control group, which says that it was one of ours.
Source: kernel documentation, admin-guide/cgroup-v2 (memory.events) and cgroup-v1
(memory.oom_control); dev-kmsg. Runs in: supervisor.
"""

from __future__ import annotations

import os
import re

from tornado_multi.process.cgroups import UNIFIED, own_group

MOST_RECORDS = 10_000
RECORD_BYTES = 8192
COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomWatch:
    """Remembers what had happened before, so that a later look tells what is new."""

    def __init__(self, root: str = "/") -> None:
        """Begin to watch.

        Args: root: where /proc, /sys and /dev are found, for tests.
        """
        self._root = root
        self._counter_path = self._find_counter()
        self._count = self._read_count()
        self._kernel_fd = self._open_kernel_log()

    def evidence_for(self, pid: int | None) -> str | None:
        """Return what says that a process ended by KILL was out of memory; None: nothing does."""
        named = pid is not None and self._kernel_names(pid)
        count = self._read_count()
        is_new = count is not None and self._count is not None and count > self._count
        self._count = count
        if named:
            return "the kernel's log names it"
        return f"oom_kill in {self._counter_path} went up" if is_new else None

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

    def _kernel_names(self, pid: int) -> bool:
        """Read what the kernel has said since the last look."""
        if self._kernel_fd is None:
            return False
        wanted = re.compile(rb"Killed process %d\b" % pid)
        found = False
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
            found = found or wanted.search(record) is not None
        return found
