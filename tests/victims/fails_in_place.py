"""An app whose factory raises in one instance as long as a file is there."""

from __future__ import annotations

import os
from pathlib import Path

from hello import make_app as make_hello
from tornado.web import Application

import tornado_multi

BROKEN = Path(os.environ["BROKEN"])


def make_app() -> Application:
    if tornado_multi.fork_id() == 1 and BROKEN.exists():
        raise RuntimeError("this instance is broken")
    return make_hello()
