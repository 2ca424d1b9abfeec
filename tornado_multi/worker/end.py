"""The end of a worker, in order: tasks, logging, exit handlers, buffers, ``os._exit``.

Never ``sys.exit``: a forked process shares finalizers and buffers with the zygote, and running them
deletes the zygote's temporary directories and writes its text twice. Runs in: worker.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sys
from typing import NoReturn

CANCEL_TIMEOUT_S = 1.0
"""For the ``finally`` blocks of the app's tasks."""


async def cancel_tasks() -> None:
    """Cancel every task of the loop but this one; give their ``finally`` blocks a moment."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            await asyncio.get_running_loop().shutdown_asyncgens()


def leave(exit_code: int) -> NoReturn:
    """Run what is to run at the end of this process, and end it."""
    try:
        logging.shutdown()
        # Handlers registered before the fork were dropped after it; what is left is the worker's.
        atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them before os._exit
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
                stream.flush()
        os._exit(exit_code)
