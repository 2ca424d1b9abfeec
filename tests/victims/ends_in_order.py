"""Leaves marks in a file at each step of its end."""

from __future__ import annotations

import asyncio
import atexit
import os

from hello import make_app as make_hello
from tornado.web import Application


def mark(text: str) -> None:
    with open(os.environ["MARKS"], "a") as file:
        file.write(f"{text}\n")


atexit.register(mark, "atexit of the import")


async def work() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        mark("finally of a task")


async def make_app() -> Application:
    atexit.register(mark, "atexit of the worker")
    make_app.task = asyncio.get_running_loop().create_task(work())
    return make_hello()
