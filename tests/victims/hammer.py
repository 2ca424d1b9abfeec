"""Connections made at import, against all advice, and handlers that call their servers with a token
of their own each time: a reply with another token belongs to somebody else.

``serve hammer:make_app``, or ``python hammer.py`` for the same with Tornado's own fork_processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import psycopg
import redis
from sqlalchemy import create_engine, text
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

WORKERS = 4
STUCK_S = float(os.environ.get("STUCK_S", "20"))
"""A call whose reply another process has read would wait for ever."""
PORT, DSN = int(os.environ["REDIS_PORT"]), os.environ["POSTGRES_DSN"]
logger = logging.getLogger("hammer")

CLIENT = redis.Redis(port=PORT, socket_timeout=STUCK_S)
CLIENT.ping()  # its pool compares the pid: never a fault
RAW = redis.Connection(port=PORT, socket_timeout=STUCK_S)
RAW.connect()  # hazard: redis-connection
SUBSCRIPTION = redis.Redis(port=PORT, socket_timeout=STUCK_S).pubsub()
SUBSCRIPTION.subscribe("news")  # hazard: redis-subscription
POSTGRES = psycopg.connect(DSN, autocommit=True)  # hazard: psycopg
ENGINE = create_engine(os.environ["POSTGRES_URL"])
ENGINE.connect().close()  # hazard: sqlalchemy


@dataclass(frozen=True)
class Resource:
    """How to have a token sent back, and what an app does after an error."""

    echo: Callable[[str], str]
    mend: Callable[[], None] = lambda: None


def echo_by_client(token: str) -> str:
    return CLIENT.echo(token).decode()


def echo_raw(token: str) -> str:
    RAW.send_command("ECHO", token)
    return RAW.read_response().decode()


def echo_subscribed(token: str) -> str:
    SUBSCRIPTION.ping(token)
    while (message := SUBSCRIPTION.get_message(timeout=STUCK_S)) is not None:
        if message["type"] == "pong":
            return message["data"].decode()
    raise TimeoutError("no reply")


def select_by_psycopg(token: str) -> str:
    return POSTGRES.execute("SELECT %s::text", (token,)).fetchone()[0]


def connect_psycopg_again() -> None:
    global POSTGRES
    POSTGRES = psycopg.connect(DSN, autocommit=True)


def select_by_engine(token: str) -> str:
    with ENGINE.connect() as connection:
        return connection.scalar(text("SELECT CAST(:token AS text)"), {"token": token})


RESOURCES = {
    "redis-client": Resource(echo_by_client),
    "redis-connection": Resource(echo_raw, RAW.disconnect),
    "redis-subscription": Resource(echo_subscribed, SUBSCRIPTION.connection.disconnect),
    "psycopg": Resource(select_by_psycopg, connect_psycopg_again),
    "sqlalchemy": Resource(select_by_engine),
}


class Hammer(RequestHandler):
    """GET /?resource=NAME&calls=N: N calls in a row; counts what came back."""

    def get(self) -> None:
        name, calls = self.get_argument("resource"), int(self.get_argument("calls"))
        resource = RESOURCES[name]
        right, wrong, errors = 0, 0, []
        for _ in range(calls):
            token = os.urandom(8).hex()
            try:
                signal.setitimer(signal.ITIMER_REAL, STUCK_S)
                reply = resource.echo(token)
            except Exception as error:
                logger.exception("A call of %s failed.", name)
                errors.append(f"{type(error).__name__}: {error}")
                resource.mend()
            else:
                right, wrong = right + (reply == token), wrong + (reply != token)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        self.write({"pid": os.getpid(), "right": right, "wrong": wrong, "errors": errors})


def give_up(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError("stuck")


def make_app() -> Application:
    signal.signal(signal.SIGALRM, give_up)
    return Application([("/", Hammer)])


# --- the same with Tornado alone ------------------------------------------------------------------


def main() -> None:
    sockets = bind_sockets(0, "127.0.0.1")
    print(sockets[0].getsockname()[1], flush=True)
    fork_processes(WORKERS)

    async def run() -> None:
        server = HTTPServer(make_app())
        server.add_sockets(sockets)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
