"""The order of steps in a new worker, before its event loop is made.

All signals are masked since before the fork, up to the user's ``after_fork``. Nothing of ours here
logs or imports. Runs in: worker.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import time
from typing import TYPE_CHECKING

from tornado_multi.logs.handler import set_report
from tornado_multi.logs.setup import renew_logs
from tornado_multi.process import scoreboard as sb
from tornado_multi.process.adoption import wait_for_adoption
from tornado_multi.process.channel import ChannelClosed
from tornado_multi.process.identity import set_fork_id
from tornado_multi.process.linux import BLOCKABLE_SIGNALS
from tornado_multi.worker.tornado_private import set_task_id

if TYPE_CHECKING:
    from types import FrameType

    from tornado_multi.assignment import Assignment

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""A terminal sends these to the whole process group; what they mean is the supervisor's affair."""
RESET_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


def ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN this is not inherited by programs that the app starts."""


def enter(assignment: Assignment) -> None:
    """Make a freshly forked process a worker. Ends the process if its supervisor is gone."""
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for number in IGNORED_SIGNALS:
        signal.signal(number, ignore_signal)
    signal.set_wakeup_fd(-1)
    wait_for_adoption(assignment.supervisor_pid, assignment.channel)
    assignment.zygote_channel.close()  # other workers' channels were closed by the zygote itself
    assignment.inheritance.enter_child()
    # Per-process resources have begun anew by themselves, in the fork (resources.lives).
    atexit._clear()  # noqa: SLF001 - what was registered before the fork belongs to the zygote
    gc.enable()
    set_fork_id(assignment.fork_id)
    set_task_id(assignment.fork_id)
    set_report(None)
    renew_logs()  # the zygote's own file was let go of in the fork itself
    _take_row(assignment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKABLE_SIGNALS)
    failure = assignment.hooks.call("after_fork", assignment.fork_id)
    if failure is not None:
        with contextlib.suppress(ChannelClosed):  # the end is near: the loop will read it
            assignment.channel.send(failure)


def _take_row(assignment: Assignment) -> None:
    row = assignment.scoreboard.row(assignment.row)
    row.store(sb.LAYOUT, sb.LAYOUT_VERSION)
    row.store(sb.PID, os.getpid())
    row.store(sb.FORK_ID, assignment.fork_id)
    row.store(sb.GENERATION, assignment.generation)
    row.store(sb.STATE, sb.RowState.STARTING)
    row.store(sb.STARTED_NS, time.monotonic_ns())
