"""Clients that sort every request, and know which worker each connection belonged to.

A request is a success (status 200 and exactly the right body), refused, reset, empty (closed
without an answer), timeout, or other. Runs in: the comparison, each client in a thread.
"""

from __future__ import annotations

import http.client
import random
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from support.waiting import eventually, pause
from support.websockets import CLOSE, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

TIMEOUT_S = 10.0
BODY = b"x" * 16_256
"""As many bytes as in the test of restarts of Puma, whose scenario S1 is."""
PAUSE_S = 0.01
"""At most so long between two requests of one client: a few hundred requests per second in all."""
AFTER_FAILURE_S = 0.05
"""So that a second without service is some twenty failures per client, and no flood."""

FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "refused"),
    (http.client.RemoteDisconnected, "empty"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
    (TimeoutError, "timeout"),
)
"""The first that fits: RemoteDisconnected is a ConnectionResetError."""


@dataclass(frozen=True)
class Answer:
    """How one request went."""

    kind: str
    body: bytes = b""
    keeps: bool = False
    """The connection may be used again."""


@dataclass(frozen=True)
class Failure:
    """A request that was no success."""

    kind: str
    holder: int | None
    """Pid of the worker that had answered on this connection; None on a fresh one."""


def request(connection: http.client.HTTPConnection, path: str, body: bytes | None = None) -> Answer:
    """Send one request and sort what comes back; a POST if there is a body."""
    try:
        connection.request("GET" if body is None else "POST", path, body=body)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(_kind_of(error))
    if response.status != 200:
        return Answer(f"other: status {response.status}", answer)
    return Answer("success", answer, keeps=not response.will_close)


def _kind_of(error: Exception) -> str:
    kinds = (kind for exception, kind in FAILURES if isinstance(error, exception))
    return next(kinds, f"other: {type(error).__name__}")


def ask(port: int, path: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        return request(connection, path)
    finally:
        connection.close()


class Client(threading.Thread):
    """Sends request after request; keeps its connection as long as the server lets it, or never."""

    def __init__(
        self, port: int, *, posts: bool = False, keeps: bool = True, limit: int | None = None
    ) -> None:
        """Make one.

        Args: limit: so many requests, then it ends by itself.
        """
        super().__init__(daemon=True)
        self._limit = limit
        self._port = port
        self._posts = posts
        self._keeps = keeps
        self._leave = threading.Event()
        self.holder: int | None = None
        """Pid of the worker that has answered on the connection in use."""
        self.successes = 0
        self.answered_by: set[int] = set()
        self.failures: list[Failure] = []

    def run(self) -> None:
        connection = None
        while not self._leave.is_set() and (self._limit is None or self.requests() < self._limit):
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            if not self._ask(connection):
                connection.close()
                connection = None
                self.holder = None
            pause(random.uniform(0, PAUSE_S))
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Send one request. Returns whether the connection may be used again."""
        path, body = ("/upload", BODY) if self._posts else ("/", None)
        answer = request(connection, path, body)
        words = answer.body.split()
        right = not self._posts or words[:1] == [str(len(BODY)).encode()]
        if answer.kind == "success" and right and words[-1].isdigit():
            self.successes += 1
            self.holder = int(words[-1])
            self.answered_by.add(self.holder)
            return answer.keeps and self._keeps
        kind = "other: wrong body" if answer.kind == "success" else answer.kind
        self.failures.append(Failure(kind, self.holder))
        pause(AFTER_FAILURE_S)
        return False

    def requests(self) -> int:
        return self.successes + len(self.failures)

    def finish(self) -> None:
        """Let the request in hand end, and wait for that."""
        self._leave.set()
        self.join(3 * TIMEOUT_S)
        assert not self.is_alive(), "a client did not end"


class Load:
    """Clients at work, as a context; entered when each of them has had a success."""

    def __init__(self, port: int, *, keeping: int = 6, fresh: int = 0, posts: bool = False) -> None:
        """Make them.

        Args:
            keeping: clients that keep their connection.
            fresh: clients that make a connection for every request.
        """
        self.clients = [Client(port, posts=posts) for _ in range(keeping)]
        self.clients += [Client(port, posts=posts, keeps=False) for _ in range(fresh)]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        eventually(lambda: all(client.successes for client in self.clients), about="all clients")
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.finish()

    def failures(self) -> list[Failure]:
        return [failure for client in self.clients for failure in client.failures[:]]

    def failed(self) -> Counter[str]:
        """Return how many requests failed, by kind."""
        return Counter(failure.kind for failure in self.failures())

    def requests(self) -> int:
        return sum(client.requests() for client in self.clients)

    def goes_on(self, requests: int = 100, within_s: float = 10.0) -> None:
        """Wait until so many more requests have been sent, whatever became of them."""
        mark = self.requests()
        eventually(lambda: self.requests() >= mark + requests, within_s=within_s)


def others(failures: Iterable[Failure], killed: set[int]) -> Counter[str]:
    """Return the failures that the end of the *killed* workers does not excuse.

    A failure on a fresh connection may have met a killed worker; only a refusal may not.
    """
    return Counter(
        failure.kind
        for failure in failures
        if failure.kind == "refused"
        or (failure.holder is not None and failure.holder not in killed)
    )


class SlowRequest(threading.Thread):
    """One request that takes its time, and when its answer came."""

    def __init__(self, port: int, path: str, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._path = path
        self._timeout_s = timeout_s
        self.kind = "none"
        self.took_s = 0.0
        self.answered_at_s = 0.0
        """On the monotonic clock."""

    def run(self) -> None:
        begun_s = time.monotonic()
        answer = ask(self._port, self._path, self._timeout_s)
        self.answered_at_s = time.monotonic()
        self.took_s = self.answered_at_s - begun_s
        whole = answer.kind != "success" or answer.body == b"done"
        self.kind = answer.kind if whole else "other: wrong body"


def websocket_end(sock: socket.socket) -> str:
    """Read a websocket to its end. Returns the code of the close frame, or how it was cut."""
    try:
        while True:
            opcode, payload = _read_frame(sock)
            if opcode == CLOSE:
                code = payload[:2]
                # A mask of zeros is a mask: RFC 6455 wants one from clients.
                sock.sendall(bytes([0x80 | CLOSE, 0x80 | len(code), 0, 0, 0, 0]) + code)
                return str(struct.unpack("!H", code)[0]) if code else "no code"
    except TimeoutError:
        return "not closed"
    except (AssertionError, OSError):
        return "cut"


def _read_frame(sock: socket.socket) -> tuple[int, bytes]:
    head = receive(sock, 2)
    size = head[1] & 0x7F
    assert size < 126, "only short frames are sent here"
    return head[0] & 0x0F, receive(sock, size)
