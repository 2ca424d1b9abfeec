"""The double fork: the worker becomes the supervisor's child, not the zygote's.

Zygote forks an intermediate, that forks the worker and ends; the kernel hands the orphan to the
nearest subreaper, the supervisor. All signals are masked from before the first fork until the
worker has its own handlers, so that none runs a handler meant for another process.

Rejected: clone(CLONE_PARENT), which needs no intermediate but goes past Python's at-fork hooks.
Runs in: zygote.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import struct
import sys
from typing import TYPE_CHECKING

from tornado_multi.process.linux import BLOCKABLE_SIGNALS

if TYPE_CHECKING:
    from tornado_multi.process.assignment import Assignment, WorkerMain

_ANSWER = struct.Struct("=ii")  # pid or 0, errno


def fork_worker(assignment: Assignment, worker_main: WorkerMain) -> int:
    """Fork one worker. Returns its pid, once it is the supervisor's child.

    Raises: OSError: the system refused one of the two forks.
    """
    for stream in (sys.stdout, sys.stderr):  # or each child would print what lies in the buffer
        with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
            stream.flush()
    gc.freeze()  # also what the hooks and the last fork left behind
    read_fd, write_fd = os.pipe()
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKABLE_SIGNALS)
    try:
        intermediate = os.fork()
        if intermediate == 0:
            _run_intermediate(assignment, worker_main, read_fd, write_fd)
        os.close(write_fd)
        write_fd = -1
        answer = os.read(read_fd, _ANSWER.size)
        # Its end is what makes the worker the supervisor's child: announce nothing before.
        with contextlib.suppress(
            ChildProcessError
        ):  # an app that ignores SIGCHLD: waited for all the same
            os.waitpid(intermediate, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        os.close(read_fd)
        if write_fd != -1:
            os.close(write_fd)
    if len(answer) != _ANSWER.size:
        raise OSError(errno.ECHILD, "the intermediate process ended without a word")
    pid, number = _ANSWER.unpack(answer)
    if pid == 0:
        raise OSError(number, os.strerror(number))
    return int(pid)


def _run_intermediate(
    assignment: Assignment, worker_main: WorkerMain, read_fd: int, write_fd: int
) -> None:
    """Fork the worker, say its pid, end. Never returns, in either process."""
    try:
        os.close(read_fd)
        try:
            pid = os.fork()
        except OSError as error:
            os.write(write_fd, _ANSWER.pack(0, error.errno or errno.EAGAIN))
        else:
            if pid == 0:
                os.close(write_fd)
                worker_main(assignment)
            os.write(write_fd, _ANSWER.pack(pid, 0))
    finally:
        # Not sys.exit: the intermediate shares buffers and exit handlers with the zygote.
        os._exit(0)
