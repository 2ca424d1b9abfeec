"""Handlers that end their worker in the ways that say nothing by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tornado.web import Application, RequestHandler


class Signal(RequestHandler):
    """Ends by a signal, in the midst of its code."""

    def get(self) -> None:
        os.kill(os.getpid(), getattr(signal, self.get_argument("name")))  # the line that crashes


class Leave(RequestHandler):
    """Asks the interpreter to end, with a code or a text."""

    def get(self) -> None:
        code = self.get_argument("code")
        sys.exit(int(code) if code.isdigit() else code)  # the line that leaves


class Callback(RequestHandler):
    """The same from a callback of the loop."""

    def get(self) -> None:
        asyncio.get_running_loop().call_soon(sys.exit, "licence expired")
        self.write("soon")


class Interrupt(RequestHandler):
    """Raises what no handler may catch."""

    def get(self) -> None:
        raise KeyboardInterrupt  # the line that interrupts


class StopLoop(RequestHandler):
    """Stops the loop that is not its own."""

    def get(self) -> None:
        asyncio.get_running_loop().stop()


def make_app() -> Application:
    return Application(
        [
            ("/signal", Signal),
            ("/leave", Leave),
            ("/callback", Callback),
            ("/interrupt", Interrupt),
            ("/stop", StopLoop),
        ]
    )
