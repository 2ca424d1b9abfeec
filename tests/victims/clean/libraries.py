"""Has what connects made at import, and connects nothing before a request comes."""

from __future__ import annotations

import logging
import os
import ssl

import httpx
import numpy as np
import psycopg
import psycopg2
import redis
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

logger = logging.getLogger(__name__)
AsyncHTTPClient.configure(None, max_clients=50)

ENGINE = create_engine(os.environ["POSTGRES_URL"], pool_size=2)
SESSIONS = scoped_session(sessionmaker(ENGINE))
POOL = redis.ConnectionPool(port=int(os.environ["REDIS_PORT"]), max_connections=4)
REDIS = redis.Redis(connection_pool=POOL)
HTTP = requests.Session()
HTTP.headers["User-Agent"] = "shop"
TLS = ssl.create_default_context()
WEIGHTS = np.linspace(0.0, 1.0, 100_000)
DRIVERS = (psycopg.__version__, psycopg2.__version__, httpx.__version__)


class Base(DeclarativeBase):
    """Of the models."""


class Account(Base):
    __tablename__ = "accounts"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Everything(RequestHandler):
    """Uses all of it once."""

    def get(self) -> None:
        with SESSIONS() as session:
            one = session.scalar(text("SELECT 1"))
        REDIS.set("hits", 1)
        page = HTTP.get(os.environ["PAGE_URL"]).text
        self.write({"one": one, "hits": int(REDIS.get("hits")), "page": page, "sum": WEIGHTS.sum()})


def make_app() -> Application:
    return Application([("/", Everything)])
