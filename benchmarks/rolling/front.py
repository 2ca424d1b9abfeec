"""A real nginx in front of the instances, told to reload, and asked whether it has.

Runs in: the bench.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from support.cluster import is_listening
from support.servers import ServerProcess
from support.waiting import eventually

from benchmarks.rolling.nginx_text import server_wide_text, upstream_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rolling.rows import Upstream

RELOADED_WITHIN_S = 10.0
HASH_TIMEOUT_S = 1.0


def find_nginx() -> str | None:
    """Return the path of nginx; Debian has it where other users' PATH does not look."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Front:
    """One nginx with one worker."""

    def __init__(
        self, settings: Upstream, addresses: Sequence[str], directory: Path, port: int
    ) -> None:
        """Start it.

        Args:
            addresses: of the instances, as nginx takes them, one per fork_id.
            directory: for its files; it is made.
            port: of 127.0.0.1, to listen at.
        """
        program = find_nginx()
        assert program is not None, "there is no nginx here (Debian: apt-get install nginx)"
        self.port = port
        self._settings = settings
        self._directory = directory
        self._error_log = directory / "error.log"
        directory.mkdir()
        is_root = os.geteuid() == 0
        file = directory / "nginx.conf"
        file.write_text(server_wide_text(settings, str(directory), port, is_root=is_root))
        self._write(addresses)
        # With KILL its worker would live on and keep the port.
        self._server = ServerProcess(
            [program, "-p", str(directory), "-e", str(self._error_log), "-c", str(file)],
            directory / "output",
            death_signal="TERM",
        )

    def wait_ready(self) -> None:
        self._server.wait_ready(lambda: is_listening(self.port))

    def reload(
        self, addresses: Sequence[str], down: Sequence[int] = (), *, is_awaited: bool = True
    ) -> None:
        """Write the instances anew and let nginx read them.

        Args:
            down: fork_ids that get no requests from now on.
            is_awaited: return when the new file is served and no worker of before is left.
        """
        before = self._workers()
        digest = self._write(addresses, down)
        self._server.process.send_signal(signal.SIGHUP)
        if is_awaited:
            eventually(
                lambda: self._served_hash() == digest and not self._workers() & before,
                within_s=RELOADED_WITHIN_S,
                about="nginx has reloaded",
                log=self.log,
            )

    def log(self) -> str:
        """Return what its error log has."""
        return self._error_log.read_text(errors="replace") if self._error_log.exists() else ""

    def read_ids(self) -> frozenset[str]:
        """Return the X-Request-Id of each request that it has read and is done with."""
        return frozenset((self._directory / "access.log").read_text().splitlines())

    def close(self) -> None:
        """End it, and its workers with it."""
        self._server.stop(signal.SIGTERM)

    def _write(self, addresses: Sequence[str], down: Sequence[int] = ()) -> str:
        """Write the file of the instances at once. Returns its hash."""
        made = upstream_file(self._settings, addresses, str(self._directory), frozenset(down))
        draft = self._directory / "upstream.new"
        draft.write_text(made.text)
        draft.replace(self._directory / "upstream.conf")
        return made.digest

    def _workers(self) -> set[int]:
        pid = self._server.process.pid
        return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def _served_hash(self) -> str:
        """Return what the private listener answers, or an empty text if nobody answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HASH_TIMEOUT_S)
            try:
                connection.connect(str(self._directory / "hash.sock"))
                connection.sendall(b"GET /hash HTTP/1.0\r\n\r\n")
                with http.client.HTTPResponse(connection) as response:
                    response.begin()
                    return response.read().decode()
            except (OSError, http.client.HTTPException):
                return ""
