"""A child queries with the parent's engine: both talk in one session."""

from __future__ import annotations

import os

from sqlalchemy import create_engine, text

ENGINE = create_engine(os.environ["POSTGRES_URL"], pool_pre_ping=True)


def backend() -> int:
    """Return the pid of the server's process that answers."""
    with ENGINE.connect() as connection:  # hazard: connection-pool
        return connection.scalar(text("SELECT pg_backend_pid()"))


BEFORE = backend()


def in_child(_index: int) -> int:
    return backend()


def in_parent() -> dict[str, int]:
    return {"before": BEFORE, "now": backend()}
