"""Each worker logs RECORDS records of 1 to 8 KiB, half of them when its successor does so too."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random

from tornado.web import Application, RequestHandler

import tornado_multi

RECORDS = int(os.environ["RECORDS"])
BATCH = 20
logger = logging.getLogger("many")
logging.getLogger("asyncio").setLevel(logging.WARNING)
writing: list[asyncio.Task[None]] = []


class Main(RequestHandler):
    def get(self) -> None:
        self.write("hello")


async def write(first: int, end: int) -> None:
    place = tornado_multi.fork_id()
    noise = random.Random(os.getpid())
    for number in range(first, end):
        body = chr(97 + number % 26) * noise.randint(1024, 8192)
        digest = hashlib.md5(body.encode()).hexdigest()
        logger.info("<%s %s %s %s %s>", place, os.getpid(), number, digest, body)
        if number % BATCH == 0:
            await asyncio.sleep(0.001)


async def on_ready() -> None:
    writing.append(asyncio.get_running_loop().create_task(write(0, RECORDS // 2)))


async def on_drain() -> None:
    await asyncio.gather(*writing)
    await write(RECORDS // 2, RECORDS)


def make_app() -> Application:
    return Application([("/", Main)], log_function=lambda _handler: None)
