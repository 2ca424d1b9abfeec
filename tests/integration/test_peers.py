"""The peers of tests: real servers, and those that only send back what they get."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
import requests
from support import processes
from support.waiting import eventually

from tornado_multi.process.linux import become_child_subreaper

if TYPE_CHECKING:
    from support.echo import EchoServers
    from support.postgres_server import PostgresServer
    from support.redis_server import RedisServer

pytestmark = pytest.mark.process
TESTS = Path(__file__).parents[1]
KILLED_TESTS = """
    import json, sys
    from support import postgres_server, redis_server

    with postgres_server.running() as postgres, redis_server.running() as redis:
        directories = [postgres.socket_directory, redis.unix_socket.parent]
        print(json.dumps([str(directory) for directory in directories]), flush=True)
        sys.stdin.read()
"""


def test_postgresql_answers_over_both_of_its_sockets(postgres: PostgresServer) -> None:
    """TCP on 127.0.0.1 and a unix socket, without a password."""
    for dsn in (postgres.dsn, postgres.unix_dsn):
        with psycopg.connect(dsn) as connection:
            assert (1,) == connection.execute("SELECT 1").fetchone()


def test_redis_answers_over_both_of_its_sockets(redis_peer: RedisServer) -> None:
    """TCP on 127.0.0.1 and a unix socket."""
    for client in (
        redis.Redis(port=redis_peer.port),
        redis.Redis(unix_socket_path=str(redis_peer.unix_socket)),
    ):
        with client:
            assert client.ping()


def test_lines_come_back(echo_servers: EchoServers) -> None:
    """Over TCP, TLS and a unix socket; and the page is there."""
    where = echo_servers.environment
    context = ssl.create_default_context(cafile=where["ECHO_TLS_CA"])
    plain = socket.create_connection(("127.0.0.1", int(where["ECHO_PORT"])))
    tls = context.wrap_socket(
        socket.create_connection(("127.0.0.1", int(where["ECHO_TLS_PORT"]))),
        server_hostname="localhost",
    )
    unix = socket.socket(socket.AF_UNIX)
    unix.connect(where["ECHO_SOCKET"])
    for sock in (plain, tls, unix):
        with sock:
            sock.sendall(b"a line\n")

            assert b"a line\n" == sock.recv(100)
    with requests.Session() as session:
        assert "hello" == session.get(where["PAGE_URL"]).text


def test_no_server_outlives_tests_that_were_killed() -> None:
    """The kernel ends PostgreSQL, with all its processes, and Redis."""
    become_child_subreaper()  # what the killed one leaves is collected here
    program = [sys.executable, "-c", textwrap.dedent(KILLED_TESTS)]
    path = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    with subprocess.Popen(
        program, env=os.environ | path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        directories = json.loads(tests.stdout.readline())
        left = [
            process.pid
            for process in processes.all_processes()
            if _directory(process.pid).startswith(tuple(directories))
        ]
        tests.kill()

    assert len(left) > 2
    eventually(lambda: not [pid for pid in left if not _has_ended(pid)], about="all have ended")
    for directory in directories:
        shutil.rmtree(directory)


def _directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _has_ended(pid: int) -> bool:
    """Tell whether a process has ended; collect it if it fell to this one."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return processes.read_process(pid) is None
