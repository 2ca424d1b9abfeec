"""Its factory raises in worker 1 only."""

from tornado.web import Application

import tornado_multi


def make_app() -> Application:
    if tornado_multi.fork_id() == 1:
        raise RuntimeError("worker 1 can't have its lease")
    return Application()
