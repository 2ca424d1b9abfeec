"""What the control groups of this process allow: CPUs and memory. Reads /proc and /sys.

A limit holds for a whole subtree, so the smallest on the way up counts. In a container the own
group is usually the root of what is mounted.
Source: kernel documentation, admin-guide/cgroup-v2 (cpu.max, memory.max) and cgroup-v1
(cpu.cfs_quota_us, memory.limit_in_bytes).
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNIFIED = "sys/fs/cgroup/unified"
"""Where version 2 is mounted beside version 1."""
NO_LIMIT_V1_BYTES = 2**60
"""Version 1 says "no limit" with a number near the highest that it can hold."""


def usable_cpus(root: str = "/") -> int:
    """Return the number of CPUs that this process may keep busy: at least 1.

    The affinity's CPUs, or the quota of the control group if that is less; 1.5 CPUs count as 2.
    Args: root: where /proc and /sys are found, for tests.
    """
    cpus = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(root: str = "/") -> float | None:
    """Return how many CPUs' time the control group may use, or None without a limit."""
    found = [
        *_limits(root, "", "cpu.max", _parse_cpu_max),
        *_limits(root, "cpu", "cpu.cfs_quota_us", _parse_v1_quota),
    ]
    return min(found, default=None)


def memory_limit_bytes(root: str = "/") -> int | None:
    """Return the control group's memory limit, or None without one."""
    found = [
        *_limits(root, "", "memory.max", _parse_memory),
        *_limits(root, "memory", "memory.limit_in_bytes", _parse_memory),
    ]
    return int(min(found)) if found else None


def _limits(
    root: str, controller: str, name: str, parse: Callable[[str, str], float | None]
) -> Iterator[float]:
    """Yield the limits in the files *name*, from the own group up to the top of what is mounted."""
    group = own_group(root, controller)
    if group is None:
        return
    mounts = [f"sys/fs/cgroup/{controller}"] if controller else ["sys/fs/cgroup", UNIFIED]
    for mount in mounts:
        path = group.strip("/")
        while True:
            directory = os.path.join(root, mount, path)
            try:
                with open(os.path.join(directory, name), encoding="ascii") as file:
                    limit = parse(file.read().strip(), directory)
            except (OSError, ValueError, ZeroDivisionError):  # it is not there, or not understood
                limit = None
            if limit is not None:
                yield limit
            if not path:
                break
            path = os.path.dirname(path)


def own_group(root: str, controller: str) -> str | None:
    """Return this process's group in a hierarchy: "" = version 2, else a controller of version 1."""
    try:
        with open(os.path.join(root, "proc/self/cgroup"), "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in lines:
        parts = os.fsdecode(line).split(":", 2)  # a group's name is a directory's: any bytes
        if len(parts) == 3 and controller in parts[1].split(","):
            return parts[2]
    return None


def _parse_cpu_max(text: str, _directory: str) -> float | None:
    quota, _, period = text.partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100_000)


def _parse_v1_quota(text: str, directory: str) -> float | None:
    if int(text) <= 0:
        return None
    with open(os.path.join(directory, "cpu.cfs_period_us"), encoding="ascii") as file:
        return int(text) / int(file.read())


def _parse_memory(text: str, _directory: str) -> float | None:
    if text == "max" or int(text) >= NO_LIMIT_V1_BYTES:
        return None
    return int(text)


def worker_count(text: str) -> int:
    """Return the number of workers for ``--workers``: the number itself, or the CPUs we may use."""
    return usable_cpus() if text == "auto" else int(text)
