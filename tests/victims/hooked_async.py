"""Has the two hooks that may be async, as coroutines, with faults as in ``hooked``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from hello import make_app as make_hello
from hooked import misbehave, record
from tornado.web import Application


async def act(hook: str) -> None:
    record(hook)
    await asyncio.sleep(0)
    if f"{hook} awaits" in Path(os.environ["HOOK_FAULTS"]).read_text():
        await asyncio.Event().wait()
    if f"{hook} ignores" in Path(os.environ["HOOK_FAULTS"]).read_text():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(600)
    misbehave(hook)
    record(f"{hook} done")


async def on_ready() -> None:
    await act("on_ready")


async def on_drain() -> None:
    await act("on_drain")


async def after_fork(fork_id: int) -> None:
    raise AssertionError


def make_app() -> Application:
    return make_hello()
