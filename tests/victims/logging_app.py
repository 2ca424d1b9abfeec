"""Logs what it is asked to, to the root logger's files and to files of its own."""

from __future__ import annotations

import logging
import os
import sys

from tornado.web import Application, RequestHandler

import tornado_multi

orders = tornado_multi.get_logger("orders")
logging.getLogger("shop").warning("imported in %d", os.getpid())


class Log(RequestHandler):
    """Logs one record, or many."""

    def get(self) -> None:
        name, level = self.get_argument("logger", "shop"), self.get_argument("level", "info")
        for number in range(int(self.get_argument("count", "1"))):
            text = self.get_argument("text", "hello")
            logging.getLogger(name).log(getattr(logging, level.upper()), "%s %d", text, number)
        self.write(str(tornado_multi.request_id()))


class Fail(RequestHandler):
    """Raises."""

    def get(self) -> None:
        raise ValueError("no such cart")


class Held(RequestHandler):
    """Names the log files that this worker holds open."""

    def get(self) -> None:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            path = f"/proc/self/fd/{fd}"
            if os.path.lexists(path) and ".log" in (name := os.readlink(path)):
                found.append(name)
        self.write({"files": sorted(found)})


def make_app() -> Application:
    return Application([("/log", Log), ("/fail", Fail), ("/held", Held)])


def make_configured_app() -> Application:
    """Set up logging in the app's own way: our handler on the root logger, a form of its own."""
    import logging.config

    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"own": {"format": "own %(levelname)s %(message)s"}},
            "handlers": {
                "files": {
                    "class": "tornado_multi.PerProcessFileHandler",
                    "name": "web",
                    "formatter": "own",
                }
            },
            "root": {"handlers": ["files"], "level": "INFO"},
        }
    )
    return make_app()


def make_basic_app() -> Application:
    """Set up logging as many programs do."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="basic %(message)s")
    return make_app()
