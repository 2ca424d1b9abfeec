"""Can be imported, but its factory never returns."""

import threading

from tornado.web import Application


def make_app() -> Application:
    threading.Event().wait()
    return Application()
