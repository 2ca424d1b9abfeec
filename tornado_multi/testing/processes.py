"""Facts about processes, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process as it was a moment ago."""

    pid: int
    parent_pid: int
    group_id: int
    session_id: int
    state: str
    """One letter, ``Z`` for a process that has ended and is not collected: proc(5)."""
    title: str


def all_processes() -> list[Process]:
    """Return every process that can be seen, zombies included."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for pid in pids if (process := read_process(pid))]


def read_process(pid: int) -> Process | None:
    """Return what is known of a process, or None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    title = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0], title)


def session(session_id: int) -> list[Process]:
    """Return the processes of a session: all that its leader started and that did not leave it."""
    return [process for process in all_processes() if process.session_id == session_id]
