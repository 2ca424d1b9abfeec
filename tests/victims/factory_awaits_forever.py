"""Can be imported, but its async factory never returns."""

import asyncio

from tornado.web import Application


async def make_app() -> Application:
    await asyncio.Event().wait()
    return Application()
