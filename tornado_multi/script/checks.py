"""What must not exist when a script forks, and what its supervisor must not keep of it.

Runs in: script, in ``fork_processes``.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import stat
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
RULE = (
    "fork_processes must come before any event loop and any thread: neither survives a fork. "
    "Create them after it, in each worker"
)


def refuse_loops_and_threads() -> None:
    """Check Tornado's rule for programs that fork.

    Raises: RuntimeError: there is an event loop that is not closed, or a second thread.
    """
    loops = [
        item
        for item in gc.get_objects()
        if issubclass(type(item), asyncio.AbstractEventLoop) and not item.is_closed()
    ]
    if loops:
        text = f"{RULE}; seen: {len(loops)} open event loop(s), the first is {loops[0]!r}."
        raise RuntimeError(text)
    threads = [
        item.name for item in threading.enumerate() if item is not threading.current_thread()
    ]
    if threads:
        text = f"{RULE}; seen: {', '.join(sorted(threads))}."
        raise RuntimeError(text)


def open_fds() -> set[int]:
    """Return the numbers of all open descriptors."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            os.fstat(number)
        except OSError:
            continue  # the listing's own
        found.add(number)
    return found


def silence_fds(numbers: Collection[int]) -> None:
    """Replace sockets and pipes of the script by /dev/null: they belong to the workers.

    The numbers stay in use, so that no object of the script, however late it is collected, closes
    a descriptor of ours. Files are left: they do no harm. Runs in: supervisor of a script.
    """
    null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in numbers:
        mode = os.fstat(number).st_mode
        if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
            os.dup2(null_fd, number, inheritable=False)
    os.close(null_fd)


def forget_signals() -> None:
    """Stop the timers that the script has set and take its signal handlers away: its code must
    never run here, and a timer of its start must not end the service. Runs in: supervisor of a script.
    """
    faulthandler.cancel_dump_traceback_later()
    for timer in TIMERS:
        signal.setitimer(timer, 0)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
