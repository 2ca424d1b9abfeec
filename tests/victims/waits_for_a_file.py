"""The app of worker 1 is not built before the file that READY_WHEN names is there."""

import asyncio
import os

from hello import make_app as make_hello
from tornado.web import Application

import tornado_multi


async def make_app() -> Application:
    while tornado_multi.fork_id() == 1 and not os.path.exists(os.environ["READY_WHEN"]):
        await asyncio.sleep(0.01)
    return make_hello()
