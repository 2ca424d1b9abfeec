"""The first worker of each fork_id ends in the fork itself, before its pid can be announced."""

from __future__ import annotations

import os
from pathlib import Path

from hello import make_app

__all__ = ["make_app"]

depth = 0


def after_fork() -> None:
    """Run by Python in each forked process: the intermediate is the first, the worker the second."""
    global depth
    depth += 1
    if depth == 2:
        marker = Path(os.environ["MARKER_DIRECTORY"]) / "died"
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os._exit(7)


os.register_at_fork(after_in_child=after_fork)
