"""Keeps what it is asked to keep."""

from __future__ import annotations

import os

from hello import make_app as make_hello
from tornado.web import Application, RequestHandler

kept: list[bytearray] = []


class Grow(RequestHandler):
    """Takes so much memory, touches all of it, keeps it, and answers with the pid."""

    def get(self) -> None:
        mib = int(self.get_argument("mib"))
        kept.extend(bytearray(os.urandom(1024) * 1024) for _ in range(mib))
        self.write(str(os.getpid()))


def make_app() -> Application:
    app = make_hello()
    app.add_handlers(".*", [("/grow", Grow)])
    return app
