"""A child closes the parent's connection of psycopg2, and the server ends the session of both."""

from __future__ import annotations

import os

import psycopg2

CONNECTION = psycopg2.connect(os.environ["POSTGRES_DSN"])  # hazard: database-connection


def in_child(_index: int) -> None:
    CONNECTION.close()


def in_parent() -> int:
    with CONNECTION.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]
