"""Says what it runs as, and what that lets it do. Imports nothing but what a worker has anyway."""

from __future__ import annotations

import os
import time

from tornado.web import Application, RequestHandler

IMPORTED_AS = os.geteuid()


def identity() -> dict[str, object]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "users": os.getresuid(),
        "groups": os.getresgid(),
        "others": os.getgroups(),
        "umask": mask,
        "home": os.environ.get("HOME"),
        "user": os.environ.get("USER"),
        "logname": os.environ.get("LOGNAME"),
        "imported_as": IMPORTED_AS,
    }


class Who(RequestHandler):
    def get(self) -> None:
        self.write(identity())


class Open(RequestHandler):
    """Tries to read a file."""

    def get(self) -> None:
        try:
            with open(self.get_argument("path"), "rb") as file:
                self.write(f"read {len(file.read())}")
        except OSError as error:
            self.write(f"{error.strerror}")


class Create(RequestHandler):
    """Creates a file and tells its mode."""

    def get(self) -> None:
        path = self.get_argument("path")
        with open(path, "wb"):
            pass
        self.write(oct(os.stat(path).st_mode & 0o777))


class Block(RequestHandler):
    def get(self) -> None:
        time.sleep(float(self.get_argument("s")))


def make_app() -> Application:
    return Application([("/", Who), ("/open", Open), ("/create", Create), ("/block", Block)])
