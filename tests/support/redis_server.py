"""A Redis server for the tests, in memory alone."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.activation import free_port
from support.programs import require_program
from support.servers import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class RedisServer:
    """Where it listens."""

    port: int
    unix_socket: Path

    @property
    def environment(self) -> dict[str, str]:
        """What victims read."""
        return {"REDIS_PORT": str(self.port), "REDIS_SOCKET": str(self.unix_socket)}


@contextlib.contextmanager
def running() -> Iterator[RedisServer]:
    """Run a server on 127.0.0.1 and a unix socket. Skips the test where there is no Redis."""
    program = require_program("redis-server", "redis-server")
    # Not below pytest's own directory, whose path may be too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix="tornado_multi-redis-", dir="/tmp"))
    server = RedisServer(free_port(), directory / "redis.sock")
    options = {
        "bind": "127.0.0.1",
        "port": str(server.port),
        "unixsocket": str(server.unix_socket),
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    process = ServerProcess([program, *arguments], directory / "log")
    try:
        process.wait_ready(lambda: _answers(server))
        yield server
        process.stop(signal.SIGTERM)
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(10)
        shutil.rmtree(directory)


def _answers(server: RedisServer) -> bool:
    import redis

    client = redis.Redis(unix_socket_path=str(server.unix_socket))
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
    finally:
        client.close()
