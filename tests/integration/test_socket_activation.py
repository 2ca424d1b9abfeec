"""Sockets that systemd listens on and passes: who serves them, and how long they live."""

from __future__ import annotations

import http.client
import os
import socket
from typing import TYPE_CHECKING

import pytest
from support import processes
from support.activation import PassedSockets, free_port, listening, port_of
from support.cluster import can_bind, is_listening
from support.commands import run_command
from support.programs import require_program
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


def start(cluster: StartCluster, passed: PassedSockets, **options: object) -> Cluster:
    return cluster(
        wrapper=passed.wrapper,
        environment=passed.environment,
        pass_fds=passed.fds,
        **{"bind": [], "workers": 2} | options,
    )


def get(port: int, path: str = "/") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().read()
    finally:
        connection.close()


def addresses(made: Cluster) -> list[str]:
    return [item["address"] for item in made.status()["listeners"]]


def test_without_addresses_every_passed_socket_is_served(cluster: StartCluster) -> None:
    """A unit with a socket unit needs no --bind; the default address is not taken."""
    with PassedSockets([listening(), listening()]) as passed:
        made = start(cluster, passed)
        ports = [port_of(sock) for sock in passed.socks]

        assert [f"http://127.0.0.1:{port}" for port in ports] == addresses(made)
        for port in ports:
            assert int(get(port)) in made.worker_pids()
        assert made.stop() == 0


def test_a_name_chooses_its_sockets(cluster: StartCluster) -> None:
    """--bind fd://NAME, beside an address of our own; two sockets may share a name."""
    with PassedSockets([listening(), listening(), listening()], "http:admin:http") as passed:
        made = start(cluster, passed, bind=["127.0.0.1:0", "fd://http", "fd://admin"])
        one, admin, other = [port_of(sock) for sock in passed.socks]

        assert [one, other, admin] == [int(item.rpartition(":")[2]) for item in addresses(made)[1:]]
        assert "is not used" not in made.log()
        for port in (made.port(), one, other, admin):
            get(port)


def test_a_socket_that_nobody_asked_for_is_noted_and_not_inherited(cluster: StartCluster) -> None:
    """Its clients wait, so the log says so; workers have no copy of it."""
    with PassedSockets([listening(), listening()], "http:admin") as passed:
        made = start(cluster, passed, bind=["fd://http"])
        used, unused = [port_of(sock) for sock in passed.socks]
        unused_inode = os.fstat(passed.socks[1].fileno()).st_ino
        get(used)

        assert "The passed socket 'admin' (fd 4) is not used: no --bind names it." in made.log()
        assert [f"http://127.0.0.1:{used}"] == addresses(made)
        assert is_listening(unused)
        for pid in [made.zygote_pid(), *made.worker_pids()]:
            assert unused_inode not in processes.socket_inodes(pid)


def test_a_name_that_was_not_passed_is_refused(cluster: StartCluster) -> None:
    """Exit code 111, and the names that there are."""
    with PassedSockets([listening()], "http") as passed:
        made = start(cluster, passed, bind=["fd://shop"], ready=False)

        assert made.wait_gone() == 111
        assert "Can't listen on fd://shop" in made.log()
        assert "passed: http" in made.log()


def test_sockets_for_another_process_are_not_taken(cluster: StartCluster) -> None:
    """LISTEN_PID of somebody else: the service serves its own address, and the socket is not."""
    with PassedSockets([listening()], "http") as passed:
        made = cluster(
            workers=1,
            environment=passed.environment | {"LISTEN_PID": "1"},
            pass_fds=passed.fds,
        )

        assert str(port_of(passed.socks[0])) not in addresses(made)[0]
        assert made.get("/")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_blocking_socket_freezes_nobody(cluster: StartCluster, loop: str) -> None:
    """Systemd passes blocking sockets: two workers wake up for each connection, and one gets it.

    The other one would wait in accept; with uvloop it does not, because libuv mends the socket.
    """
    with PassedSockets([listening(blocking=True)]) as passed:
        made = start(cluster, passed, options=["--loop", loop])
        port = port_of(passed.socks[0])
        for _ in range(50):
            get(port)
        eventually(lambda: max(row["beat_age_s"] for row in made.workers()) < 1)

        assert 50 == made.status()["requests_total"]
        assert made.stop() == 0


def test_a_passed_socket_lives_through_reload_and_stop(cluster: StartCluster) -> None:
    """It is systemd's: after a stop it listens on, and the next service serves what has queued."""
    with PassedSockets([listening()], "http") as passed:
        port = port_of(passed.socks[0])
        first = start(cluster, passed, bind=["fd://http"])
        assert run_command(first, "reload").returncode == 0
        assert int(get(port)) in first.worker_pids()
        assert first.stop() == 0
        assert is_listening(port)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            second = start(cluster, passed, bind=["fd://http"])

            assert waiting.recv(4096).startswith(b"HTTP/1.1 200")
            assert second.stop() == 0
    eventually(lambda: can_bind(port), about="the port is free when its owner closes it")


def test_a_real_activation(cluster: StartCluster, tmp_path: Path) -> None:
    """systemd-socket-activate listens on two named sockets and starts us at the first connection.

    The client that woke us up is answered, and both sockets are served under their names.
    """
    activate = require_program("systemd-socket-activate", "systemd")
    port, path = free_port(), tmp_path / "admin.sock"
    made = cluster(
        workers=2,
        ready=False,
        bind=["fd://http", "fd://admin"],
        wrapper=[
            activate, "-l", f"127.0.0.1:{port}", "-l", str(path), "--fdname=http:admin",
            "-E", "SEEN=yes",
        ],
    )  # fmt: skip
    # An attempt before it listens is refused; the first that is not starts the service.
    client = eventually(lambda: _connect(port), about="systemd-socket-activate listens")
    with client:
        client.sendall(b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := client.recv(4096):
            answer += data
    made.wait_ready()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"SEEN"' in answer
    assert b"LISTEN_" not in answer
    assert [f"http://127.0.0.1:{port}", f"unix:{path}"] == addresses(made)
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert other.recv(4096).startswith(b"HTTP/1.1 200")
    assert made.stop() == 0
    assert path.exists(), "the file is systemd's"


def _connect(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=30)
    except ConnectionRefusedError:
        return None
