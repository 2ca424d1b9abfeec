"""Registers an exit handler that never returns."""

import atexit
import threading

from hello import make_app as make_hello
from tornado.web import Application


def make_app() -> Application:
    atexit.register(threading.Event().wait)
    return make_hello()
