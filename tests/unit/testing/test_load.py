"""Clients that sort what becomes of their requests, against servers with one habit each."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.testing import load
from tornado_multi.testing.load import KeepAliveClient, Load
from tornado_multi.testing.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Habit = Any  # Callable[[socket.socket], None]


def answer(text: str) -> Callable[[socket.socket], None]:
    def habit(sock: socket.socket) -> None:
        while sock.recv(65536):
            sock.sendall(text.replace("\n", "\r\n").encode())

    return habit


def leave(sock: socket.socket) -> None:
    sock.recv(65536)


def reset(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stay_silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Habit], int]]:
    """Start a server with a habit; returns its port."""
    listeners, threads = [], []

    def talk(connection: socket.socket, habit: Habit) -> None:
        with connection:
            habit(connection)

    def accept(listener: socket.socket, habit: Habit) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=talk, args=(connection, habit), daemon=True))
            threads[-1].start()

    def start(habit: Habit) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=accept, args=(listener, habit)))
        threads[-1].start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("habit", "kind"),
    [
        (answer("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"), "success"),
        (answer("HTTP/1.1 503 Sorry\nContent-Length: 0\n\n"), "status 503"),
        (answer("nonsense\n"), "other BadStatusLine('nonsense\\r\\n')"),
        (leave, "empty"),
        (reset, "reset"),
        (stay_silent, "timeout"),
    ],
)
def test_each_end_of_a_request_has_its_kind(
    serve: Callable[[Habit], int], habit: Habit, kind: str
) -> None:
    """What the client saw is counted under one name, and nothing under another."""
    client = KeepAliveClient(serve(habit), timeout_s=0.1 if kind == "timeout" else 10.0)
    client.start()
    wait_for(lambda: client.results, about=kind)
    client.finish()

    assert {kind} == set(client.results)
    assert (kind != "success") == bool(client.errors())


def test_a_closed_port_refuses() -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = KeepAliveClient(port)
    client.start()
    wait_for(lambda: client.results["refused"])
    client.finish()

    assert {"refused"} == set(client.results)


def test_a_load_adds_its_clients_up(serve: Callable[[Habit], int]) -> None:
    """Every client has had a success when the context is entered; the end has them all."""
    with Load(serve(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n")), 3) as running:
        assert all(client.results["success"] for client in running.clients)

    assert {"success": running.successes()} == running.results
    assert sum(client.results["success"] for client in running.clients) == running.successes()
    assert not running.errors()


def test_a_load_without_a_success_says_what_it_got(
    serve: Callable[[Habit], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is not there ends the context at once, with the results, and no client is left."""
    port = serve(answer("HTTP/1.1 404 Not Found\nContent-Length: 0\n\n"))
    monkeypatch.setattr(load, "FIRST_SUCCESS_WITHIN_S", 0.1)
    running = Load(port, 2, "/nowhere")
    with pytest.raises(AssertionError, match=r"/nowhere.*'status 404': \d"):
        running.__enter__()

    assert not any(client.is_alive() for client in running.clients)
