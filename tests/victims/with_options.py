"""Defines options of its own, with a parse callback that must run in each worker."""

from __future__ import annotations

import os

from tornado.options import add_parse_callback, define, options
from tornado.web import Application, RequestHandler

define("greeting", default="hello", help="what to say")
called_in: list[int] = []
add_parse_callback(lambda: called_in.append(os.getpid()))


class Greet(RequestHandler):
    def get(self) -> None:
        self.write({"greeting": options.greeting, "called_in": called_in, "pid": os.getpid()})


def make_app() -> Application:
    return Application([("/", Greet)])
