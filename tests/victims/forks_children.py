"""Forks a child for a request, which stays when the worker goes."""

import os
import signal

from hello import make_app as make_hello
from tornado.web import Application, RequestHandler


class Fork(RequestHandler):
    """Answers with the pid of a child that does nothing, for ever or until TERM."""

    def get(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pause()
            os._exit(0)
        self.write(str(pid))


class Short(RequestHandler):
    """Forks children that end at once and are never waited for."""

    def get(self) -> None:
        for _ in range(5):
            if os.fork() == 0:
                os._exit(3)
        self.write("done")


def make_app() -> Application:
    app = make_hello()
    app.add_handlers(".*", [("/fork", Fork), ("/short", Short)])
    return app
