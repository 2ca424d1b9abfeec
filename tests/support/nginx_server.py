"""nginx in front of a service, for one test."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tornado.testing import bind_unused_port

from support.processes import children
from support.programs import require_program
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = os.environ.get("NGINX_PROGRAM", "nginx")
"""Another version can be given, to see that it does the same."""
IN_FRONT = """
client_body_buffer_size 64k;
upstream app {{ server {upstream}; keepalive 16; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
"""
SURROUNDINGS = """
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {text}
}}
"""


@contextmanager
def running_nginx(text: str, directory: Path) -> Iterator[Path]:
    """Run nginx with this in its http block, until the end. Yields its pid file."""
    directory.mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(SURROUNDINGS.format(user=user, directory=directory, text=text))
    with running_file(file, directory) as pid_file:
        yield pid_file


@contextmanager
def running_file(file: Path, directory: Path) -> Iterator[Path]:
    """Run nginx with a whole file, whose pid file is ``nginx.pid`` there. Yields that."""
    program = require_program(NGINX, "nginx")
    pid_file = directory / "nginx.pid"
    command = [program, "-p", str(directory), "-e", str(directory / "start.log"), "-c", str(file)]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=output)

    def has_workers() -> bool:
        assert process.poll() is None, (directory / "output").read_text()
        return pid_file.exists() and bool(children(process.pid))

    try:
        eventually(has_workers, about="nginx has workers")
        yield pid_file
    finally:
        process.terminate()
        process.wait(30)
        assert not pid_file.exists()


@contextmanager
def nginx_before(upstream: str, directory: Path) -> Iterator[int]:
    """Run nginx in front of ``127.0.0.1:PORT`` or ``unix:PATH``. Yields its own port.

    It keeps connections to the service, as the docs advise.
    """
    port = unused_port()
    with running_nginx(IN_FRONT.format(upstream=upstream, port=port), directory):
        yield port


def unused_port() -> int:
    """Return a port for nginx. Until it binds, another process may take it: nginx then says so."""
    probe, port = bind_unused_port(address="127.0.0.1")
    probe.close()
    return port
