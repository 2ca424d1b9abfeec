"""Who this process is, as the after-fork code of the worker recorded it."""

from __future__ import annotations

_fork_id: int | None = None
_generation: int | None = None
_is_served = False


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


def generation() -> int | None:
    """Return the number of the code load that this process belongs to; None outside a service.

    Runs in: any process. Together with ``fork_id`` it says what a process is: a worker has both, a
    zygote has this alone.
    """
    return _generation


def set_generation(value: int) -> None:
    """Record the generation of this process. Runs in: zygote, before the app is imported."""
    global _generation  # noqa: PLW0603 - as above
    _generation = value


def is_served() -> bool:
    """Tell whether ``serve`` runs this process: then nobody else may fork workers in it."""
    return _is_served


def set_served() -> None:
    """Record that this is a process of ``serve``. Runs in: zygote, before the app is imported."""
    global _is_served  # noqa: PLW0603 - as above
    _is_served = True
