"""A service behind an nginx whose configuration we generate, for one test."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.commands import run_command
from support.nginx_server import NGINX, running_file, unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster import Cluster


class Site:
    """nginx with its files in a directory of its own."""

    def __init__(self, made: Cluster, directory: Path, options: tuple[str, ...]) -> None:
        directory.mkdir()
        self._made = made
        self.directory = directory
        self.file = directory / "nginx.conf"
        self.port, self.secure_port = unused_port(), unused_port()
        self._options = [
            *("--server-name", "127.0.0.1", "--server-name", "localhost"),
            *("--listen-address", "127.0.0.1"),
            *("--http-port", str(self.port), "--https-port", str(self.secure_port)),
            *("--output", str(self.file)),
            *("--nginx-pid-file", str(directory / "nginx.pid")),
            *("--private-listen", f"unix:{directory}/private.sock"),
            *("--access-log", str(directory / "access.log")),
            *("--error-log", str(directory / "error.log")),
            *("--worker-processes", "2", "--xheaders", "--nginx-program", NGINX),
            *(("--nginx-user", "root") if os.geteuid() == 0 else ()),  # whose directory it is
            *options,
        ]

    def generate(self, *more: str) -> None:
        """Write the configuration; *more* says where the service is, and what else to do."""
        done = run_command(self._made, "nginx", *self._options, *more)
        assert done.returncode == 0, done.stderr

    def reload(self, *more: str) -> None:
        """Write it anew, and have the running nginx take it over."""
        self.generate(*(more or ["--live"]), "--reload-nginx")

    def keeps_connections(self) -> bool:
        """Tell whether this nginx gives clients time at a reload (from 1.27.4 on)."""
        return "keepalive_min_timeout" in self.file.read_text()

    def errors(self) -> str:
        return (self.directory / "error.log").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secure_url(self) -> str:
        return f"https://localhost:{self.secure_port}"  # a number is no name for TLS


@contextmanager
def site_before(made: Cluster, directory: Path, *options: str) -> Iterator[Site]:
    """Run nginx in front of a service that runs. Args: options: of the command ``nginx``."""
    site = Site(made, directory, options)
    site.generate("--live")
    with running_file(site.file, directory):
        yield site
