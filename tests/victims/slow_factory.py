"""Takes a moment to build."""

import asyncio

from hello import make_app as make_hello
from tornado.web import Application


async def make_app() -> Application:
    await asyncio.sleep(1)
    return make_hello()
