"""Forks with Tornado's own fork_processes."""

from __future__ import annotations

import os
import sys

from tornado.process import fork_processes

from fork_bugs.acts import CHILDREN, act, bug


def main() -> None:
    try:
        index = fork_processes(CHILDREN)
    except SystemExit:  # how it ends in the parent when all children have left
        act("parent", bug.in_parent)
        os._exit(0)
    act(f"child-{index}", bug.in_child, index)
    if getattr(bug, "LEAVES_BY_EXIT", False):
        sys.exit(0)
    os._exit(0)


main()
