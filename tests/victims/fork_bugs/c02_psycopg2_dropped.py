"""A child that only drops the parent's connection of psycopg2 does no harm."""

from __future__ import annotations

import gc
import os

import psycopg2

HELD = [psycopg2.connect(os.environ["POSTGRES_DSN"])]


def in_child(_index: int) -> None:
    HELD.clear()
    gc.collect()


def in_parent() -> int:
    with HELD[0].cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]
