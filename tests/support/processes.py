"""Facts about processes, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    parent_pid: int
    group_id: int
    session_id: int
    state: str
    title: str


def all_processes() -> list[Process]:
    """Return every process that can be seen, zombies included."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for pid in pids if (process := read_process(pid))]


def read_process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0], title)


def session(session_id: int) -> list[Process]:
    """Return the processes of a session: all that a cluster started and that did not leave it."""
    return [process for process in all_processes() if process.session_id == session_id]


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
