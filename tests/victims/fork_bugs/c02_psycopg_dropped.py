"""A child that only drops the parent's connection of psycopg does no harm."""

from __future__ import annotations

import gc
import os

import psycopg

HELD = [psycopg.connect(os.environ["POSTGRES_DSN"])]


def in_child(_index: int) -> None:
    HELD.clear()
    gc.collect()


def in_parent() -> int:
    with HELD[0].cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]
