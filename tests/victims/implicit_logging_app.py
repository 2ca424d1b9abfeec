"""Logs by the functions of the module logging, at import and in a handler, and sets up nothing."""

from __future__ import annotations

import logging

from tornado.web import Application, RequestHandler

logging.warning("implicit at import")  # noqa: LOG015 - this is the bad habit


class Log(RequestHandler):
    """Logs in both ways."""

    def get(self) -> None:
        logging.warning("implicit in a handler")  # noqa: LOG015 - as above
        logging.getLogger("shop").warning("by a logger")


def make_app() -> Application:
    return Application([("/log", Log)])
