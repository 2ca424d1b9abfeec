"""Things that must not be open at a fork, one function each, with the line that opens it marked.

``hazards_app`` plants all of them; a test may plant one. Each function returns what keeps it alive.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging.handlers
import mmap
import os
import random
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PLANTS: dict[str, Callable[[], Any]] = {}
"""Every hazard by its name."""


def plant(function: Callable[[], Any]) -> Callable[[], Any]:
    """Put a function into the list."""
    PLANTS[function.__name__] = function
    return function


def in_directory(name: str) -> str:
    """Return a path in the test's directory."""
    return os.path.join(os.environ["HAZARD_DIRECTORY"], name)


# --- connections ----------------------------------------------------------------------------------


@plant
def tcp_connection() -> Any:
    address = ("127.0.0.1", int(os.environ["ECHO_PORT"]))
    return socket.create_connection(address)  # hazard: connected-socket


@plant
def unix_connection() -> Any:
    sock = socket.socket(socket.AF_UNIX)  # hazard: connected-socket
    sock.connect(os.environ["ECHO_SOCKET"])
    return sock


@plant
def tls_connection() -> Any:
    context = ssl.create_default_context(cafile=os.environ["ECHO_TLS_CA"])
    tcp = socket.create_connection(("127.0.0.1", int(os.environ["ECHO_TLS_PORT"])))
    return context.wrap_socket(tcp, server_hostname="localhost")  # hazard: tls-socket


@plant
def psycopg_connection() -> Any:
    import psycopg

    return psycopg.connect(os.environ["POSTGRES_DSN"])  # hazard: database-connection


@plant
def psycopg2_connection() -> Any:
    import psycopg2

    return psycopg2.connect(os.environ["POSTGRES_DSN"])  # hazard: database-connection


@plant
def sqlalchemy_engine() -> Any:
    from sqlalchemy import create_engine

    engine = create_engine(os.environ["POSTGRES_URL"])
    engine.connect().close()  # hazard: connection-pool
    return engine


@plant
def redis_subscription() -> Any:
    import redis

    subscription = redis.Redis(port=int(os.environ["REDIS_PORT"])).pubsub()
    subscription.subscribe("news")  # hazard: connected-socket
    return subscription


@plant
def requests_session() -> Any:
    import requests

    session = requests.Session()
    session.get(os.environ["PAGE_URL"])  # hazard: connection-pool
    return session


@plant
def sqlite_handle() -> Any:
    return sqlite3.connect(in_directory("numbers.db"))  # hazard: sqlite


@plant
def udp_socket() -> Any:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # hazard: udp-socket


# --- what waits -----------------------------------------------------------------------------------


@plant
def bare_epoll() -> Any:
    return select.epoll()  # hazard: epoll


@plant
def event_loop() -> Any:
    asyncio.set_event_loop(asyncio.new_event_loop())  # hazard: event-loop


@plant
def pipe() -> Any:
    return os.pipe()  # hazard: pipe


@plant
def eventfd() -> Any:
    return os.eventfd(0)  # hazard: eventfd


@plant
def wakeup_fd() -> Any:
    signal.set_wakeup_fd(os.pipe2(os.O_NONBLOCK)[1])  # hazard: wakeup-fd


# --- threads, locks, processes --------------------------------------------------------------------


@plant
def running_thread() -> Any:
    thread = threading.Thread(target=threading.Event().wait, name="poller", daemon=True)
    thread.start()  # hazard: thread
    return thread


@plant
def held_lock() -> Any:
    lock = threading.Lock()
    taken = threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            threading.Event().wait()  # hazard: held-lock

    threading.Thread(target=hold, name="holder", daemon=True).start()
    taken.wait()
    return lock


@plant
def executor() -> Any:
    pool = ThreadPoolExecutor(1, "pool")
    pool.submit(int).result()  # hazard: executor
    return pool


@plant
def native_thread() -> Any:
    library = ctypes.CDLL(None)
    pause = ctypes.cast(library.pause, ctypes.c_void_p)
    number = ctypes.c_ulong()
    library.pthread_create(ctypes.byref(number), None, pause, None)  # hazard: native-thread


@plant
def child_process() -> Any:
    # It ends with the last process that holds the other end of its pipe.
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # hazard: child-process


# --- files and memory -----------------------------------------------------------------------------


@plant
def rotating_log() -> Any:
    path = in_directory("rotating.log")
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=1000)  # hazard: rotating-log
    logging.getLogger("hazards").addHandler(handler)
    return handler


@plant
def unflushed_file() -> Any:
    path = in_directory("lines.txt")
    file = open(path, "w")  # noqa: SIM115 - hazard: written-file
    file.write("one line\n")
    return file


@plant
def temporary_directory() -> Any:
    place = os.environ["HAZARD_DIRECTORY"]
    return tempfile.TemporaryDirectory(dir=place)  # hazard: temporary-directory


@plant
def shared_map() -> Any:
    return mmap.mmap(-1, 4096)  # hazard: shared-map


# --- generators of random numbers -----------------------------------------------------------------


@plant
def random_instance() -> Any:
    return random.Random()  # hazard: random


@plant
def numpy_generator() -> Any:
    import numpy as np

    return np.random.default_rng()  # hazard: random
