"""How a process that was forked twice makes sure that it ends with its supervisor.

Runs in: worker, and the processes that call hooks; with all signals masked, before anything else.
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

from tornado_multi.process.linux import die_with_parent_thread

if TYPE_CHECKING:
    from tornado_multi.process.channel import Channel

LOOK_S = 0.0002


def wait_for_adoption(supervisor_pid: int, channel: Channel) -> None:
    """Wait until the supervisor is our parent, and ask the kernel to end us with it.

    A parent-death signal asked for earlier would fire when the intermediate process ends.
    Ends the process if the supervisor is gone.
    """
    while os.getppid() != supervisor_pid:
        select.select([channel], [], [], LOOK_S)
        if channel.is_closed_by_peer():
            os._exit(0)
    end_with_supervisor(supervisor_pid)


def end_with_supervisor(supervisor_pid: int) -> None:
    """Ask the kernel to end this process with its supervisor; again after a change of identity."""
    die_with_parent_thread(signal.SIGKILL)
    if os.getppid() != supervisor_pid:
        os._exit(0)  # it died before the call above could take hold
