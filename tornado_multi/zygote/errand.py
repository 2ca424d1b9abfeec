"""The short-lived process that calls one hook (``on_worker_exit``, ``on_reload``) and ends.

So a hook that hangs, leaks or crashes harms nobody. Runs in: a process of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle

from tornado_multi.process.adoption import wait_for_adoption
from tornado_multi.process.channel import ChannelClosed
from tornado_multi.process.linux import BLOCKABLE_SIGNALS

if TYPE_CHECKING:
    from tornado_multi.assignment import HookErrand

RESET_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


def run_errand(errand: HookErrand) -> NoReturn:
    """Call the hook, say how it failed if it did, and end this process."""
    try:
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        wait_for_adoption(errand.supervisor_pid, errand.channel)
        errand.zygote_channel.close()
        errand.inheritance.enter_child()
        atexit._clear()  # noqa: SLF001 - what was registered before the fork belongs to the zygote
        setproctitle(f"tornado_multi: hook {errand.hook}")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKABLE_SIGNALS)
        failure = errand.hooks.call(errand.hook, errand.report)
        if failure is not None:
            with contextlib.suppress(ChannelClosed):
                errand.channel.send(failure)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
                stream.flush()
        os._exit(0)
