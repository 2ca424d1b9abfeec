"""Who this process is, as the after-fork code of the worker recorded it."""

from __future__ import annotations

_fork_id: int | None = None


def fork_id() -> int | None:
    """Return this worker's fork_id (0-based place number), or None outside a worker.

    The number is stable: the worker that replaces a dead one has the same. Tornado's
    ``tornado.process.task_id()`` agrees with it.
    Runs in: any process.
    """
    return _fork_id


def set_fork_id(value: int) -> None:
    """Record the fork_id of this process. Runs in: worker, once, after the fork."""
    global _fork_id  # noqa: PLW0603 - a process has one identity, and this is where it is kept
    _fork_id = value
