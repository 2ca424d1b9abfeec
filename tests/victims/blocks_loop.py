"""Handlers that block the event loop, each in another way."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time

from hello import make_app as make_hello
from tornado.web import Application, RequestHandler

lock = threading.Lock()
lock.acquire()
background: set[asyncio.Task[None]] = set()


class Sleep(RequestHandler):
    """Blocks in a coroutine, and lets go of the interpreter's lock."""

    async def get(self) -> None:
        await asyncio.sleep(0)
        time.sleep(float(self.get_argument("s")))  # the line that blocks
        self.write("done")


class Regex(RequestHandler):
    """Blocks in C and keeps the interpreter's lock."""

    async def get(self) -> None:
        re.match("(a+)+$", "a" * int(self.get_argument("n")) + "b")  # the line that holds the lock
        self.write("done")


def regex_takes_s(count: int) -> float:
    begun_s = time.perf_counter()
    re.match("(a+)+$", "a" * count + "b")
    return time.perf_counter() - begun_s


MEASURED = 18
MEASURED_S = min(regex_takes_s(MEASURED) for _ in range(3))


class HoldsLock(RequestHandler):
    """Keeps the interpreter's lock for at least so many seconds: each character doubles the time."""

    async def get(self) -> None:
        doublings = math.ceil(math.log2(float(self.get_argument("s")) / MEASURED_S))
        regex_takes_s(MEASURED + doublings)
        self.write("done")


class Locked(RequestHandler):
    """Waits for a lock that somebody else has."""

    async def get(self) -> None:
        lock.acquire()  # the line that waits
        lock.release()
        self.write("done")


class RegexInThread(RequestHandler):
    """Another thread keeps the interpreter's lock, and so blocks the loop."""

    async def get(self) -> None:
        await asyncio.to_thread(match_slowly, int(self.get_argument("n")))
        self.write("done")


def match_slowly(count: int) -> None:
    re.match("(a+)+$", "a" * count + "b")  # the line that holds the lock in a thread


class BusyThreads(RequestHandler):
    """Starts threads that never rest, and whose frames come and go."""

    async def get(self) -> None:
        for number in range(4):
            threading.Thread(target=count_for_ever, name=f"counts {number}", daemon=True).start()
        self.write("started")


def count_for_ever() -> None:
    while True:
        count_down(300)
        exec("[number for number in range(20)]", {})


def count_down(left: int) -> int:
    return 0 if left == 0 else count_down(left - 1)


second_has_begun = asyncio.Event()


class First(RequestHandler):
    """Blocks when another request has begun after it."""

    async def get(self) -> None:
        await second_has_begun.wait()
        time.sleep(float(self.get_argument("s")))
        self.write("done")


class Second(RequestHandler):
    """Waits, and blocks nobody."""

    async def get(self) -> None:
        second_has_begun.set()
        await asyncio.Event().wait()


async def poll_prices() -> None:
    await asyncio.Event().wait()


async def make_app() -> Application:
    background.add(asyncio.create_task(poll_prices(), name="poll prices"))
    app = make_hello()
    app.add_handlers(
        ".*",
        [
            ("/sleep", Sleep),
            ("/regex", Regex),
            ("/regex_in_thread", RegexInThread),
            ("/busy_threads", BusyThreads),
            ("/holds", HoldsLock),
            ("/locked", Locked),
            ("/first", First),
            ("/second", Second),
        ],
    )
    return app
