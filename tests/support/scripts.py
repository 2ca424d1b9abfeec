"""Scripts with their own main program, as Tornado's guide has them, and clusters that run them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from support.cluster import Cluster
from tornado_multi.process.linux import become_child_subreaper
from tornado_multi.testing.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GUIDE = """\
import asyncio
import json
import os
import sys
import time

import tornado.process
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

import tornado_multi
from tornado_multi import bind_sockets, fork_processes

VERSION = "v1"


class Version(RequestHandler):
    def get(self):
        self.write(VERSION)


class WhoAmI(RequestHandler):
    def get(self):
        self.write(
            {
                "pid": os.getpid(),
                "fork_id": tornado_multi.fork_id(),
                "task_id": tornado.process.task_id(),
                "returned": FORK_ID,
                "port": self.request.host,
            }
        )


class Slow(RequestHandler):
    async def get(self):
        self.write("begun ")
        await self.flush()
        await asyncio.sleep(float(self.get_argument("s")))
        self.write("done")


def make_app():
    return Application([("/", Version), ("/whoami", WhoAmI), ("/slow", Slow)])


def main():
    global FORK_ID
    sockets = bind_sockets(0, "127.0.0.1")
    FORK_ID = fork_processes(2)

    async def post_fork_main():
        server = HTTPServer(make_app())
        server.add_sockets(sockets)
        await asyncio.Event().wait()

    asyncio.run(post_fork_main())


if __name__ == "__main__":
    main()
"""
"""The multi-process example of Tornado's user guide ("Running and deploying"), with its import line
changed and a few handlers to look at."""


class ScriptCluster(Cluster):
    """One script in a session of its own."""

    def __init__(
        self,
        directory: Path,
        text: str = GUIDE,
        *,
        environment: dict[str, str] | None = None,
        command: Sequence[str] = ("service.py",),
        wrapper: Sequence[str] = (),
    ) -> None:
        become_child_subreaper()
        directory.mkdir(parents=True, exist_ok=True)
        self.script = directory / "service.py"
        self.script.write_text(text)
        control = directory / "control.sock"
        variables = {
            "TORNADO_MULTI_CONTROL": str(control),
            "PWD": str(directory),
            "PYTHONUNBUFFERED": "1",
        }
        Tree.__init__(
            self,
            directory,
            [*wrapper, sys.executable, *command],
            control=control,
            cwd=directory,
            environment={**os.environ, **variables, **(environment or {})},
        )

    def edit(self, old: str, new: str) -> None:
        """Change the script's text."""
        text = self.script.read_text()
        assert old in text
        self.script.write_text(text.replace(old, new))
        # Bytecode counts as that of a text of the same length and second.
        later_s = self.script.stat().st_mtime + 2
        os.utime(self.script, (later_s, later_s))

    def ports(self) -> list[int]:
        return [int(item["address"].rpartition(":")[2]) for item in self.status()["listeners"]]
