"""Can be imported, but its factory leaves."""

import sys

from tornado.web import Application


def make_app() -> Application:
    sys.exit(5)
