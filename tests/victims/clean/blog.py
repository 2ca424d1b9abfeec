"""A blog: SQLite opened for each request, templates, signed cookies, a factory."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tornado.ioloop import IOLoop
from tornado.options import define, options
from tornado.web import Application, RequestHandler, url

logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
SCHEMA = "CREATE TABLE IF NOT EXISTS entries (title TEXT, body TEXT, written_at TEXT)"
define("blog_database", default=os.environ.get("BLOG_DATABASE", "blog.db"), type=str)


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database for as long as it is used."""
    with contextlib.closing(sqlite3.connect(options.blog_database)) as connection:
        connection.execute(SCHEMA)
        with connection:
            yield connection


def read_entries() -> list[tuple[str, str]]:
    with database() as connection:
        return connection.execute("SELECT title, body FROM entries ORDER BY rowid").fetchall()


def add_entry(title: str, body: str) -> None:
    now = dt.datetime.now(dt.UTC).isoformat()
    with database() as connection:
        connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (title, body, now))


class Home(RequestHandler):
    async def get(self) -> None:
        entries = await IOLoop.current().run_in_executor(None, read_entries)
        self.render("blog.html", entries=entries)


class Compose(RequestHandler):
    async def post(self) -> None:
        title = self.get_argument("title")
        await IOLoop.current().run_in_executor(None, add_entry, title, self.get_argument("body"))
        logger.info("an entry was written: %s", title)
        self.set_signed_cookie("author", "somebody")
        self.redirect("/")


def make_app() -> Application:
    return Application(
        [url("/", Home, name="home"), url("/compose", Compose, name="compose")],
        template_path=str(HERE / "templates"),
        cookie_secret="not so secret",
        xsrf_cookies=False,
    )
