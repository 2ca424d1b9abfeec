"""A child writes with the handle of SQLite that the parent has a transaction open on."""

from __future__ import annotations

import os
import sqlite3

PATH = os.path.join(os.environ["FORK_BUG_DIRECTORY"], "numbers.db")
HANDLE = sqlite3.connect(PATH, isolation_level=None, timeout=0)  # hazard: sqlite
HANDLE.execute("CREATE TABLE numbers (n INTEGER)")
HANDLE.execute("BEGIN IMMEDIATE")
HANDLE.execute("INSERT INTO numbers VALUES (1)")


def in_child(_index: int) -> None:
    HANDLE.execute("INSERT INTO numbers VALUES (2)")
    HANDLE.execute("COMMIT")


def in_worker(_index: int) -> None:
    """Do what a worker should: open it again."""
    sqlite3.connect(PATH).close()


def in_parent() -> list[int]:
    HANDLE.execute("COMMIT")
    return [n for (n,) in HANDLE.execute("SELECT n FROM numbers ORDER BY n")]
