"""Changes its identity in the worker."""

import os

from hello import make_app as make_hello
from tornado.web import Application


def make_app() -> Application:
    os.setgid(65534)
    os.setuid(65534)
    return make_hello()
