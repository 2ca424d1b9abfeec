"""Instances for tests: started on free ports or unix sockets, and asked one by one."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from support.posting import UnixConnection

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

    from support.cluster import Cluster

PORTS = range(20_000, 30_000)
"""Below those that the kernel gives to clients, which would take one of a block now and then."""


def free_ports(count: int) -> int:
    """Return the first of so many ports in a row that nobody uses now."""
    while True:
        first = random.randrange(PORTS.start, PORTS.stop - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return first


def start_instances(
    cluster: StartCluster,
    count: int = 3,
    *options: str,
    unix_dir: Path | None = None,
    room: int = 8,
    **more: Any,
) -> Cluster:
    """Start instances. Args: room: so many ports in a row are free, for a scale-up."""
    where = ["--first-port", str(free_ports(room))]
    if unix_dir is not None:
        where = ["--unix-dir", str(unix_dir)]
    return cluster(
        command="instances",
        workers=None,
        bind=(),
        options=["--count", str(count), *where, *options],
        **more,
    )


@dataclass(frozen=True)
class Answer:
    """What one request got."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage


def addresses(made: Cluster) -> dict[int, str]:
    """Return where each instance listens."""
    return {item["fork_id"]: item["address"] for item in made.status()["listeners"]}


def connection_to(address: str) -> http.client.HTTPConnection:
    """Return a connection to an instance that opens at its first request."""
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"), 20)
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)


def ask(address: str, path: str = "/who", method: str = "GET") -> Answer:
    """Send one request on a connection of its own."""
    connection = connection_to(address)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.headers)
