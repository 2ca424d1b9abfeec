"""A well-behaved app with the handlers that process tests need."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import tornado.process
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

import tornado_multi

IMPORTED_IN_PID = os.getpid()


class Pid(RequestHandler):
    """Answers with the worker's pid."""

    def get(self) -> None:
        self.write(str(os.getpid()))


class Who(RequestHandler):
    """Answers with all that a worker knows of itself."""

    def get(self) -> None:
        self.write(
            {
                "pid": os.getpid(),
                "parent_pid": os.getppid(),
                "imported_in_pid": IMPORTED_IN_PID,
                "fork_id": tornado_multi.fork_id(),
                "task_id": tornado.process.task_id(),
                "loop": type(asyncio.get_running_loop()).__module__,
                "remote_ip": self.request.remote_ip,
                "directory": os.environ.get("PWD"),
                "first_on_path": sys.path[0],
                "environment": sorted(os.environ),
            }
        )


class Slow(RequestHandler):
    """Takes its time without blocking."""

    async def get(self) -> None:
        await asyncio.sleep(float(self.get_argument("s")))
        self.write("done")


class Block(RequestHandler):
    """Blocks the loop."""

    def get(self) -> None:
        time.sleep(float(self.get_argument("s")))
        self.write("done")


class Exit(RequestHandler):
    """Ends the worker without a word."""

    def get(self) -> None:
        os._exit(int(self.get_argument("code")))


class SysExit(RequestHandler):
    """Ends the worker as a script would."""

    def get(self) -> None:
        asyncio.get_running_loop().call_soon(exit, int(self.get_argument("code")))


class Shell(RequestHandler):
    """Runs a shell command that may leave processes behind."""

    async def get(self) -> None:
        process = subprocess.Popen(["sh", "-c", self.get_argument("command")])
        while process.poll() is None:
            await asyncio.sleep(0.005)
        self.write(json.dumps(process.returncode))


class Upload(RequestHandler):
    """Answers with the size of the body."""

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Echo(WebSocketHandler):
    """Sends back what it gets."""

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app() -> Application:
    return Application(
        [
            ("/", Pid),
            ("/who", Who),
            ("/slow", Slow),
            ("/block", Block),
            ("/exit", Exit),
            ("/sysexit", SysExit),
            ("/shell", Shell),
            ("/upload", Upload),
            ("/echo", Echo),
        ]
    )
