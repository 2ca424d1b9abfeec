"""The clients of the bench of rolling restarts, against servers that end connections in each way."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from support.processes import all_processes
from support.programs import require_program
from support.servers import ServerProcess
from support.waiting import eventually

from benchmarks.rolling import trying
from benchmarks.rolling.clients import Client
from benchmarks.rolling.exchange import _is_closed
from benchmarks.rolling.rows import ROWS, Flavour, Procedure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Act = Callable[[socket.socket], None]

pytestmark = pytest.mark.process
BY_KEY = {row.key: row for row in ROWS}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"


def read(connection: socket.socket) -> None:
    """Read one whole GET, or to the end."""
    data = b""
    while not data.endswith(b"\r\n\r\n") and (more := connection.recv(4096)):
        data += more


def answer(connection: socket.socket, head: bytes = OK, body: bytes = b"GET 0") -> None:
    read(connection)
    connection.sendall(head + b"\r\n" + body)


def read_and_close(connection: socket.socket) -> None:
    answer(connection)
    read(connection)


def read_and_reset(connection: socket.socket) -> None:
    read_and_close(connection)
    reset(connection)


def reset(connection: socket.socket) -> None:
    """Let the close that follows be a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_in_part(connection: socket.socket) -> None:
    answer(connection, body=b"GE")


def answer_502(connection: socket.socket) -> None:
    answer(connection, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n", b"")


def answer_wrong(connection: socket.socket) -> None:
    answer(connection, body=b"POST0")


def say_goodbye(connection: socket.socket) -> None:
    answer(connection, OK + b"Connection: close\r\n")


class Server:
    """Accepts one connection after the other, and does with the first one what it was made for.

    All later ones are served well until they end.
    """

    def __init__(self, first: Act) -> None:
        self._first = first
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        act = self._first
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection:
                act(connection)
            act = serve_well

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def serve_well(connection: socket.socket) -> None:
    while connection.recv(4096):
        connection.sendall(OK + b"\r\nGET 0")


@pytest.fixture
def client_of() -> Iterator[Callable[[Act], Client]]:
    """A client that has gone on for ten successes after what the server did first."""
    opened: list[tuple[Client, Server]] = []

    def start(first: Act) -> Client:
        server = Server(first)
        client = Client(server.port, "GET")
        opened.append((client, server))
        client.start()
        eventually(lambda: client.successes >= 10, about="the client goes on")
        return client

    yield start
    for client, server in opened:
        client.finish()
        server.close()


@pytest.mark.parametrize("ending", [None, reset])
def test_an_idle_close_is_no_failure(ending: Act | None) -> None:
    """A connection that ends while nothing is under way is made anew, and nothing has failed."""
    may_end = threading.Event()

    def answer_and_end_when_told(connection: socket.socket) -> None:
        answer(connection)
        may_end.wait(30)
        if ending is not None:
            ending(connection)

    server = Server(answer_and_end_when_told)
    client = Client(server.port, "GET")
    client._send_one()
    connection = client._connection
    assert connection is not None
    may_end.set()
    eventually(lambda: _is_closed(connection), about="the end has come")
    client._send_one()
    client._drop()
    server.close()

    assert (2, 2, []) == (client.sent, client.successes, client.failures)
    assert {"idle closed": 1} == client.reconnects


@pytest.mark.parametrize("first", [read_and_close, read_and_reset, answer_in_part])
def test_a_request_without_an_answer_is_lost(
    client_of: Callable[[Act], Client], first: Act
) -> None:
    """A connection that ends after the request was sent has lost it, and is no reconnect."""
    client = client_of(first)

    assert ["lost"] == [failure.kind for failure in client.failures]
    assert {} == client.reconnects


@pytest.mark.parametrize(("first", "kind"), [(answer_502, "502"), (answer_wrong, "wrong body")])
def test_a_wrong_answer_is_a_failure(
    client_of: Callable[[Act], Client], first: Act, kind: str
) -> None:
    """Another status than 200 fails, and so does a body that is not the right one."""
    assert [kind] == [failure.kind for failure in client_of(first).failures]


def test_an_answer_that_closes_is_no_failure(client_of: Callable[[Act], Client]) -> None:
    """Connection: close is obeyed, and counted as a connection made anew."""
    client = client_of(say_goodbye)

    assert [] == client.failures
    assert {"closed by an answer": 1} == client.reconnects


def test_a_refused_connection_is_no_failure() -> None:
    """Where nobody listens nothing is sent; the client goes on when somebody does."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        client = Client(place.getsockname()[1], "GET")
        client.start()
        eventually(lambda: client.reconnects["refused"] >= 2, about="it was refused")
        client.finish()

    assert (0, []) == (client.sent, client.failures)


@pytest.fixture
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that the test starts has ended with it: nginx, instances, our supervisor."""
    require_program("nginx", "nginx")
    sessions: set[int] = set()
    begin = ServerProcess.__init__

    def remember(server: ServerProcess, *arguments: object, **options: object) -> None:
        begin(server, *arguments, **options)  # type: ignore[arg-type]
        sessions.add(server.process.pid)

    monkeypatch.setattr(ServerProcess, "__init__", remember)
    yield
    assert len(sessions) >= 2
    assert [] == [item for item in all_processes() if item.session_id in sessions]


@pytest.mark.parametrize(("key", "fails"), [("1", True), ("13", False)])
def test_a_bad_row_fails_requests_and_a_good_one_none(
    nothing_is_left: None, key: str, *, fails: bool
) -> None:
    """A short run tells a roll that takes out all instances from one that overlaps."""
    run = trying.try_out(BY_KEY[key], load_s=0, before=50)

    assert "" == run.problem
    assert fails is bool(run.failures), run.failures


@pytest.mark.parametrize("key", ["O1", "O2"])
def test_no_request_fails_while_our_instances_are_reloaded(nothing_is_left: None, key: str) -> None:
    """Behind a real nginx, with 16 keep-alive clients, by GET and by POST."""
    row = BY_KEY[key]
    run = trying.try_out(row, load_s=0, before=200)

    assert (Procedure.RELOAD, Flavour.OURS) == (row.procedure, row.flavour)
    assert ("", ()) == (run.problem, run.failures)
    assert run.sent >= 200
    assert {} == run.log_kinds
