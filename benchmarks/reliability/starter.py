"""Become the command of a system, tied to the life of the comparison.

Usage: starter.py PARENT_PID subreaper|plain COMMAND ...

When the comparison is killed, the kernel ends the system's first process. A subreaper is the
nearest thing to process 1 that needs no root: it is what orphans of its descendants fall to, and
the mark stays through exec.
Source: prctl(2), PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

import os
import sys

from tornado_multi.process.linux import become_child_subreaper, die_with_parent_thread


def main() -> None:
    parent_pid, kind, *command = sys.argv[1:]
    die_with_parent_thread()
    if os.getppid() != int(parent_pid):
        sys.exit("The comparison that wanted this process is gone.")
    if kind == "subreaper":
        become_child_subreaper()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
