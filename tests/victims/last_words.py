"""Deaths whose stacks are odd: long ones, and those of a forked child."""

from __future__ import annotations

import os
import threading

from hello import make_app as make_hello
from tornado.web import Application, RequestHandler

MOST_THREADS = 90
DEPTH = 90


def wait_deep_down(depth: int) -> None:
    if depth:
        wait_deep_down(depth - 1)
    threading.Event().wait()


class Crash(RequestHandler):
    """Aborts with so many threads that are deep down."""

    def get(self) -> None:
        for _ in range(min(MOST_THREADS, int(self.get_argument("threads")))):
            threading.Thread(target=wait_deep_down, args=(DEPTH,), daemon=True).start()
        os.abort()  # the line that crashes


class ChildCrashes(RequestHandler):
    """Forks a child that aborts, and answers with its status."""

    def get(self) -> None:
        pid = os.fork()
        if pid == 0:
            os.abort()
        self.write(str(os.waitpid(pid, 0)[1]))


def on_worker_exit(report: dict[str, object]) -> None:
    print(f"told: {report['signal']} {len(str(report['stacks']))}", flush=True)


def make_app() -> Application:
    app = make_hello()
    app.add_handlers(".*", [("/crash", Crash), ("/child", ChildCrashes)])
    return app
