"""Has resources that leave marks when they are created and closed, and that misbehave on demand.

MARKS names the file of the marks; RESOURCE_FAULTS a file with lines ``resource fault``. One resource
is wrongly used at import, so that the zygote creates it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from hello import make_app as make_hello
from tornado.web import Application, RequestHandler

import tornado_multi


def mark(event: str, name: str) -> None:
    line = json.dumps({"event": event, "name": name, "pid": os.getpid()})
    with Path(os.environ["MARKS"]).open("a") as file:
        file.write(f"{line}\n")


def fault(name: str) -> str | None:
    faults = Path(os.environ["RESOURCE_FAULTS"])
    lines = faults.read_text().splitlines() if faults.exists() else []
    return dict(line.split() for line in lines).get(name)


class Thing:
    """What the factories make."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.created_in = os.getpid()
        mark("created", name)

    def close(self) -> None:
        mark("closing", self.name)
        match fault(self.name):
            case "raises":
                raise ConnectionError("already gone")
            case "blocks":
                time.sleep(600)
        mark("closed", self.name)


async def close_pool(thing: Thing) -> None:
    mark("closing", thing.name)
    if fault(thing.name) == "hangs":
        await asyncio.Event().wait()
    mark("closed", thing.name)


def look(thing: Thing) -> str:
    if fault(thing.name) == "ill":
        raise ConnectionError("no answer")
    return "5 of 10 in use"


@tornado_multi.per_process
def base() -> Thing:
    return Thing("base")


@tornado_multi.per_process(close=close_pool, health=look)
async def pool() -> Thing:
    base()
    await asyncio.sleep(0)
    return Thing("pool")


@tornado_multi.per_process(name="client")
async def client() -> Thing:
    await pool()
    return Thing("client")


base()  # as an app would, by mistake


class Use(RequestHandler):
    """Uses the resources, the last one first."""

    async def get(self) -> None:
        things = [await client(), await pool(), base()]
        self.write({"pid": os.getpid(), "created_in": [thing.created_in for thing in things]})


def make_app() -> Application:
    app = make_hello()
    app.add_handlers(".*", [("/use", Use)])
    return app


async def make_never() -> Application:
    """Use resources, and never return."""
    await client()
    mark("waiting", "")
    await asyncio.Event().wait()
    return make_app()


def on_drain() -> None:
    mark("on_drain", "")
