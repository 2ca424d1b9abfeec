"""Writes log files in a directory of its own choice, from its import on."""

from __future__ import annotations

import logging
import os

from tornado.web import Application, RequestHandler

import tornado_multi

logging.getLogger().addHandler(
    tornado_multi.PerProcessFileHandler("web", directory=os.environ["OWN_LOGS"])
)
logging.getLogger("shop").warning("imported")


class Log(RequestHandler):
    """Logs one record."""

    def get(self) -> None:
        logging.getLogger("shop").warning("in a handler")


def make_app() -> Application:
    return Application([("/log", Log)])
