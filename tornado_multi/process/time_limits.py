"""A limit for code of the app that may never come back: an interruption by SIGALRM.

It ends sleeps, waits and Python code; code that holds the interpreter in C is not reached.
Runs in: zygote, worker and the processes of hooks; always on the main thread.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

from tornado_multi.process.linux import process_age_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPT_AGAIN_S = 1.001
"""Code that swallows the interruption gets it again, this often. An odd number tells our timer from
one that the code has set."""

LEAST_S = 0.01


class TimeLimitError(BaseException):
    """Thrown into code that takes too long. No Exception: its own handlers don't want it."""


def left_of_boot_s(boot_timeout_s: float) -> float:
    """Return a limit for this process's boot that is over shortly before the supervisor kills it.

    The supervisor counts from the start of the process; what it took until here is part of that.
    """
    end_s = boot_timeout_s - min(0.5, boot_timeout_s / 10)
    return max(LEAST_S, end_s - process_age_s())


@contextlib.contextmanager
def time_limit(timeout_s: float) -> Iterator[None]:
    """Throw TimeLimitError into the block when it takes longer.

    A timer and a handler of the app are put back, with what is left of the timer's time; those that
    the block has set stay.
    """
    is_over = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not is_over:
            raise TimeLimitError

    before = signal.signal(signal.SIGALRM, interrupt)
    begun_s = time.monotonic()
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, timeout_s, INTERRUPT_AGAIN_S)
    try:
        try:
            yield
        finally:  # twice: an interruption in this very moment must not leave the timer running
            is_over = True
    finally:
        is_over = True
        is_ours = signal.getitimer(signal.ITIMER_REAL)[1] == INTERRUPT_AGAIN_S
        if is_ours:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGALRM) is interrupt:
            signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)
        if is_ours and left_s > 0:
            passed_s = time.monotonic() - begun_s
            signal.setitimer(signal.ITIMER_REAL, max(left_s - passed_s, 1e-6), interval_s)
