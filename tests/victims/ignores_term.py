"""Wants to hear nothing of TERM."""

import signal

from hello import make_app as make_hello
from tornado.web import Application


def make_app() -> Application:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make_hello()
