"""Two clients of a Dubbo provider that have called while the app was imported; workers call too."""

from __future__ import annotations

import asyncio
import os

from tornado.web import Application, RequestHandler

from tornado_multi import DubboClient

ADDRESS, SERVICE = os.environ["DUBBO"], "com.example.AccountService"
CLIENT = DubboClient(ADDRESS)
asyncio.run(CLIENT.invoke(SERVICE, "add", 1, 2))
TEXT = DubboClient(ADDRESS, protocol="telnet")
asyncio.run(TEXT.invoke(SERVICE, "add", 1, 2))
BLOCKING = DubboClient(ADDRESS).blocking()
BLOCKING.invoke(SERVICE, "add", 1, 2)


class Add(RequestHandler):
    async def get(self) -> None:
        a = await CLIENT.invoke(SERVICE, "add", 1, 2)
        b = await TEXT.invoke(SERVICE, "add", a, 2)
        c = await asyncio.to_thread(BLOCKING.invoke, SERVICE, "add", b, 2)
        self.write({"pid": os.getpid(), "answer": c})


def make_app() -> Application:
    return Application([("/dubbo", Add)])
