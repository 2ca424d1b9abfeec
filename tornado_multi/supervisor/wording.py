"""How log lines call a process. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_multi.supervisor.state import Worker, Zygote


def worker_name(worker: Worker) -> str:
    """Return the speaker of a line about a worker."""
    return f"worker fork_id={worker.fork_id} gen={worker.generation} pid={worker.pid}"


def zygote_name(zygote: Zygote) -> str:
    """Return the speaker of a line about a zygote."""
    return f"zygote gen={zygote.generation} pid={zygote.pid}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the right form."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
