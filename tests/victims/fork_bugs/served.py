"""The app: a worker is the child, and the zygote, before it forks one more, the parent."""

from __future__ import annotations

from hello import make_app

from fork_bugs.acts import CHILDREN, act, bug

__all__ = ["after_fork", "before_fork", "make_app"]


def after_fork(fork_id: int) -> None:
    if fork_id < CHILDREN:
        act(f"child-{fork_id}", getattr(bug, "in_worker", bug.in_child), fork_id)


def before_fork(fork_id: int) -> None:
    if fork_id == CHILDREN:
        act("parent", bug.in_parent)
