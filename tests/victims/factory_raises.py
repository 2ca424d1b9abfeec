"""Can be imported, but its factory raises."""

from tornado.web import Application


def make_app() -> Application:
    raise LookupError("no such tenant")
