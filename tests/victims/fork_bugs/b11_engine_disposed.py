"""A child disposes of the parent's engine, and the parent loses its session."""

from __future__ import annotations

import os

from sqlalchemy import create_engine, text

ENGINE = create_engine(os.environ["POSTGRES_URL"], pool_pre_ping=True)


def backend() -> int:
    """Return the pid of the server's process that answers."""
    with ENGINE.connect() as connection:  # hazard: connection-pool
        return connection.scalar(text("SELECT pg_backend_pid()"))


BEFORE = backend()


def in_child(_index: int) -> None:
    ENGINE.dispose()


def in_parent() -> dict[str, int]:
    return {"before": BEFORE, "now": backend()}
