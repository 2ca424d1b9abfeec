"""A fork inside a running loop: in the child no loop runs."""

from __future__ import annotations

import asyncio
import os


async def fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if asyncio._get_running_loop() is None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(_index: int) -> int:
    return asyncio.run(fork())


def in_parent() -> None:
    """Nothing to see."""
