"""Facts about processes, read from /proc, that only our own tests ask for."""

from __future__ import annotations

import os
from pathlib import Path

from tornado_multi.testing.processes import Process, all_processes, read_process, session

__all__ = [
    "Process",
    "all_processes",
    "children",
    "read_process",
    "seqpacket_inodes",
    "session",
    "socket_inodes",
]


def children(pid: int) -> list[Process]:
    return [process for process in all_processes() if process.parent_pid == pid]


def socket_inodes(pid: int) -> set[int]:
    """Return the inode numbers of the sockets that a process holds."""
    found = set()
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"{directory}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def seqpacket_inodes() -> set[int]:
    """Return the inode numbers of all SOCK_SEQPACKET unix sockets (type 0005)."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    return {int(line.split()[6]) for line in lines if line.split()[4] == "0005"}
