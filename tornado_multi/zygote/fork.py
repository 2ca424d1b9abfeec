"""The double fork: the new process becomes the supervisor's child, not the zygote's.

Zygote forks an intermediate, that forks the new process and ends; the kernel hands the orphan to
the nearest subreaper, the supervisor. All signals are masked from before the first fork until the
new process has its own handlers, so that none runs a handler meant for another process.

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

from tornado_multi.process.linux import BLOCKABLE_SIGNALS

_ANSWER = struct.Struct("=ii")  # pid or 0, errno


def fork_child() -> int | None:
    """Fork a process that becomes the supervisor's child.

    Returns: in the zygote its pid, once it is that; in the new process None, signals still masked.
    Raises: OSError: the system refused one of the two forks (in the zygote).
    """
    for stream in (sys.stdout, sys.stderr):  # or each child would print what lies in the buffer
        with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
            stream.flush()
    gc.freeze()  # also what the hooks and the last fork left behind
    read_fd, write_fd = os.pipe()
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKABLE_SIGNALS)
    try:
        intermediate = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        os.close(read_fd)
        os.close(write_fd)
        raise
    if intermediate == 0:
        _fork_again(read_fd, write_fd)
        return None
    try:
        os.close(write_fd)
        answer = os.read(read_fd, _ANSWER.size)
        # Its end is what makes the new process the supervisor's child: announce nothing before.
        with contextlib.suppress(
            ChildProcessError
        ):  # an app that ignores SIGCHLD: waited for all the same
            os.waitpid(intermediate, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        os.close(read_fd)
    if len(answer) != _ANSWER.size:
        raise OSError(errno.ECHILD, "the intermediate process ended without a word")
    pid, number = _ANSWER.unpack(answer)
    if pid == 0:
        raise OSError(number, os.strerror(number))
    return int(pid)


def _fork_again(read_fd: int, write_fd: int) -> None:
    """Fork once more, say the pid, end. Returns in the new process only."""
    try:
        os.close(read_fd)
        try:
            pid = os.fork()
        except OSError as error:
            os.write(write_fd, _ANSWER.pack(0, error.errno or errno.EAGAIN))
            os._exit(0)
        if pid != 0:
            os.write(write_fd, _ANSWER.pack(pid, 0))
            os._exit(0)  # not sys.exit: it shares buffers and exit handlers with the zygote
        os.close(write_fd)
    except BaseException:  # noqa: BLE001 - this process must never run the zygote's code
        os._exit(1)
