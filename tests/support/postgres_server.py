"""A PostgreSQL server for the tests, without any care for a crash of the machine.

PostgreSQL refuses to run as root, so root gives it to the account ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.activation import free_port
from support.programs import require_program
from support.servers import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = ("postgres", "nobody")
USER = "tests"
DATABASE = "postgres"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "listen_addresses": "127.0.0.1",
    # A connection that was cut is noticed while a query runs, so that nothing is left at the end.
    "client_connection_check_interval": "1s",
}


@dataclass(frozen=True)
class PostgresServer:
    """Where it listens."""

    port: int
    socket_directory: Path

    @property
    def dsn(self) -> str:
        """For psycopg and psycopg2, over TCP."""
        return f"host=127.0.0.1 port={self.port} user={USER} dbname={DATABASE}"

    @property
    def unix_dsn(self) -> str:
        """For psycopg and psycopg2, over the unix socket."""
        return f"host={self.socket_directory} port={self.port} user={USER} dbname={DATABASE}"

    def url(self, driver: str = "psycopg") -> str:
        """Return what SQLAlchemy takes, for the driver psycopg or psycopg2."""
        return f"postgresql+{driver}://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def environment(self) -> dict[str, str]:
        """What victims read."""
        return {"POSTGRES_DSN": self.dsn, "POSTGRES_URL": self.url()}


@contextlib.contextmanager
def running() -> Iterator[PostgresServer]:
    """Run a server on 127.0.0.1 and a unix socket. Skips the test where there is no PostgreSQL."""
    programs = _find_programs()
    # Another account can't enter pytest's own directory.
    directory = Path(tempfile.mkdtemp(prefix="tornado_multi-postgres-", dir="/tmp"))
    try:
        prefix = _give_away(directory)
        server = PostgresServer(free_port(), directory)
        _make_database(prefix, programs, directory / "data")
        with _serving(prefix, programs, server):
            yield server
    finally:
        shutil.rmtree(directory)


def _find_programs() -> Path:
    """Return the directory of the newest installed version's programs."""
    # Debian puts them there, because several versions may be installed beside each other.
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if found:
        return Path(max(found, key=lambda path: float(path.split("/")[4]))).parent
    return Path(require_program("postgres", "postgresql")).resolve().parent


def _give_away(directory: Path) -> list[str]:
    """Let the server's account have the directory; return the command that becomes the account."""
    if os.geteuid() != 0:
        return []
    names = {account.pw_name for account in pwd.getpwall()}
    name = next(name for name in ACCOUNTS if name in names)
    account = pwd.getpwnam(name)
    os.chown(directory, account.pw_uid, account.pw_gid)
    directory.chmod(0o755)  # every account may use the socket
    uid, gid = str(account.pw_uid), str(account.pw_gid)
    return ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"]


def _make_database(prefix: list[str], programs: Path, data: Path) -> None:
    made = subprocess.run(
        [
            *(*prefix, str(programs / "initdb"), "--pgdata", str(data), "--username", USER),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C"),
            *("--no-sync", "--no-instructions"),
        ],
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


@contextlib.contextmanager
def _serving(prefix: list[str], programs: Path, server: PostgresServer) -> Iterator[None]:
    directory = server.socket_directory
    settings = SETTINGS | {"port": str(server.port), "unix_socket_directories": str(directory)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = ServerProcess(
        [str(programs / "postgres"), "-D", str(directory / "data"), *options],
        directory / "log",
        prefix=prefix,
        # An immediate shutdown; killed, it would leave a segment of shared memory behind.
        death_signal="QUIT",
    )
    try:
        process.wait_ready(lambda: _answers(server))
        yield
        # A fast shutdown: connections that a test has left open are cut.
        process.stop(signal.SIGINT)
    finally:
        if process.process.poll() is None:
            process.stop(signal.SIGQUIT)


def _answers(server: PostgresServer) -> bool:
    import psycopg

    try:
        psycopg.connect(server.unix_dsn).close()
    except psycopg.OperationalError:
        return False
    return True
