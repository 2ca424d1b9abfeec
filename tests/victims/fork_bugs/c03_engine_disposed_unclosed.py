"""A child that disposes of the parent's engine without closing it does no harm."""

from __future__ import annotations

import os

from sqlalchemy import create_engine, text

ENGINE = create_engine(os.environ["POSTGRES_URL"], pool_pre_ping=True)


def backend() -> int:
    """Return the pid of the server's process that answers."""
    with ENGINE.connect() as connection:
        return connection.scalar(text("SELECT pg_backend_pid()"))


BEFORE = backend()


def in_child(_index: int) -> int:
    ENGINE.dispose(close=False)
    return backend()


def in_parent() -> dict[str, int]:
    return {"before": BEFORE, "now": backend()}
