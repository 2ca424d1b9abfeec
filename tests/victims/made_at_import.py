"""One client of each library, connected at import against all advice, and used by the workers.

GET /NAME uses it once: the answer is ``ok`` and what came back, or the error and its notes.
"""

from __future__ import annotations

import os
import random
import sys

import httpx
import numpy as np
import psycopg
import psycopg2
import redis
import requests
from sqlalchemy import create_engine, text
from tornado.web import Application, RequestHandler

import tornado_multi
from tornado_multi.forksafety.explanations import explain

DSN, PAGE = os.environ["POSTGRES_DSN"], os.environ["PAGE_URL"]

SESSION = requests.Session()
SESSION.get(PAGE)  # hazard: requests
HTTPX = httpx.Client()
HTTPX.get(PAGE)  # hazard: httpx
PSYCOPG = psycopg.connect(DSN, autocommit=True)  # hazard: psycopg
PSYCOPG2 = psycopg2.connect(DSN)  # hazard: psycopg-two
ENGINE = create_engine(os.environ["POSTGRES_URL"])
ENGINE.connect().close()  # hazard: sqlalchemy
REDIS = redis.Redis(port=int(os.environ["REDIS_PORT"]))
REDIS.ping()
MEMORY = create_engine("sqlite://")
with MEMORY.begin() as begun:
    begun.execute(text("CREATE TABLE numbers AS SELECT 7 AS number"))
RANDOM = random.Random()
SEEDED = random.Random(7)
NUMPY = np.random.default_rng()
NUMPY_SEEDED = np.random.default_rng(7)
with tornado_multi.fork_safe("the same draw in all workers"):
    NUMPY_ALLOWED = np.random.default_rng(7)


def postgres_pid(connection: object) -> str:
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    return str(cursor.fetchone()[0])


def engine_pid() -> str:
    with ENGINE.connect() as connection:
        return str(connection.scalar(text("SELECT pg_backend_pid()")))


def in_memory() -> str:
    with MEMORY.connect() as connection:
        return str(connection.scalar(text("SELECT number FROM numbers")))


USES = {
    "requests": lambda: SESSION.get(PAGE).text,
    "httpx": lambda: HTTPX.get(PAGE).text,
    "psycopg": lambda: postgres_pid(PSYCOPG),
    "psycopg-two": lambda: postgres_pid(PSYCOPG2),
    "sqlalchemy": engine_pid,
    "memory": in_memory,
    "redis": lambda: str(REDIS.client_id()),
    "random": lambda: str(RANDOM.random()),
    "seeded": lambda: str(SEEDED.random()),
    "numpy": lambda: str(NUMPY.random()),
    "numpy-seeded": lambda: str(NUMPY_SEEDED.random()),
    "numpy-allowed": lambda: str(NUMPY_ALLOWED.random()),
    "numpy-global": lambda: str(np.random.random()),  # noqa: NPY002 - the old way too
}


class Use(RequestHandler):
    def get(self, name: str) -> None:
        try:
            answer = f"ok {USES[name]()}"
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            explain(error)  # as the log does
            notes = " ".join(getattr(error, "__notes__", ()))
            answer = f"{type(error).__name__}: {error} {notes}"
        self.write({"pid": os.getpid(), "answer": answer})


def before_fork(fork_id: int) -> None:
    """Say which sessions the zygote has on the server, whenever a worker is forked."""
    print("before fork", fork_id, postgres_pid(PSYCOPG), engine_pid(), file=sys.stderr, flush=True)


def make_app() -> Application:
    return Application([("/(.+)", Use)])
