"""Which process answers: pid and fork_id, and the route that tells them."""

import os
from typing import TypedDict

import tornado_multi
from demo_app.handler import DemoHandler


class Identity(TypedDict):
    """The two numbers that name a process of the service."""

    pid: int
    fork_id: int | None


def identity() -> Identity:
    """Name this process; ``fork_id`` is None outside a worker.

    Asked anew each time and never kept: a value taken before the fork would be wrong after it.
    Runs in: any process. Blocks: never.
    """
    return {"pid": os.getpid(), "fork_id": tornado_multi.fork_id()}


class WhoamiHandler(DemoHandler):
    """GET /whoami."""

    def get(self) -> None:
        """Answer ``{"pid": int, "fork_id": int | null}``."""
        self.set_header("Cache-Control", "no-store")
        self.write(dict(identity()))
