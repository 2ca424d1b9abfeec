"""Log files that the app names by itself, found by what its workers hold open.

An app may log by a ``PerProcessFileHandler`` with a directory of its own, or by Tornado's
``log_file_prefix``; the settings say nothing of it. A worker that has logged holds its file open.
Runs in: the command ``logs``.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tornado_multi.logs.merge import fork_id_in_name

if TYPE_CHECKING:
    from collections.abc import Mapping


def directories_of(workers: Mapping[int, int]) -> list[str]:
    """Return the directories in which workers write files of their own, sorted.

    Args: workers: pid -> fork_id. Those of another user, and those that have gone, say nothing.
    """
    found = set()
    for pid, fork_id in workers.items():
        for path in _open_files(pid):
            directory, name = os.path.split(path)
            if fork_id_in_name(name) == fork_id:
                found.add(directory)
    return sorted(found)


def _open_files(pid: int) -> list[str]:
    paths = []
    with contextlib.suppress(OSError):  # it has gone, or belongs to somebody else
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                paths.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return [path for path in paths if path.startswith("/")]
