"""Clients that keep their connections and a steady pace, whatever the answers are.

Runs in: the bench, each client in a thread.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from support.waiting import eventually, pause

from benchmarks.rolling.exchange import Answer, NotSentError, exchange
from benchmarks.rolling.nginx_text import last_tried, was_sent_twice
from benchmarks.rolling.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = 16
PERIOD_S = 0.04
"""Of one client: 400 requests per second together."""
TIMEOUT_S = 10.0
BODY = b"x" * 100
AGAIN_AFTER_S = 0.05
"""After a refused connection, so that it becomes no flood."""


class Client(threading.Thread):
    """Sends request after request, one each PERIOD_S; who is late does not catch up."""

    def __init__(self, port: int, method: str, delay_s: float = 0.0) -> None:
        """Make one.

        Args: delay_s: before the first request, so that clients do not go in step.
        """
        super().__init__(daemon=True)
        self._port = port
        self._method = method
        self._delay_s = delay_s
        body = BODY if method == "POST" else b""
        self._head = f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        self._body = body
        self._right_body = f"{method} {len(body)}".encode()
        self._leave = threading.Event()
        self._connection: socket.socket | None = None
        self.sent = 0
        self.successes = 0
        self.failures: list[Failure] = []
        self.latencies_ms: list[float] = []
        self.reconnects: Counter[str] = Counter()
        self.sent_twice = 0

    def run(self) -> None:
        due_s = time.monotonic() + self._delay_s
        while not self._leave.is_set():
            pause(max(0.0, due_s - time.monotonic()))
            self._send_one()
            due_s = max(due_s + PERIOD_S, time.monotonic())
        self._drop()

    def finish(self) -> None:
        """Let the request in hand end, and wait for that."""
        self._leave.set()
        self.join(3 * TIMEOUT_S)
        assert not self.is_alive(), "a client did not end"

    def _send_one(self) -> None:
        """Send one request, on as many connections as it takes to get its first byte out."""
        while not self._leave.is_set():
            try:
                connection = self._connected()
                begun_s = time.monotonic()
                answer = exchange(connection, self._request(), self._right_body)
            except NotSentError as error:
                self.reconnects[str(error)] += 1
                self._drop()
                continue
            self._note(answer, begun_s, time.monotonic())
            return

    def _request(self) -> bytes:
        head = f"{self._head}X-Request-Id: {self._request_id()}\r\n\r\n"
        return head.encode() + self._body

    def _request_id(self) -> str:
        """Of the request that is sent next."""
        return f"{id(self)}-{self.sent}"

    def _connected(self) -> socket.socket:
        if self._connection is None:
            try:
                address = ("127.0.0.1", self._port)
                self._connection = socket.create_connection(address, timeout=TIMEOUT_S)
            except OSError as error:
                pause(AGAIN_AFTER_S)
                raise NotSentError("refused") from error
        return self._connection

    def _note(self, answer: Answer, begun_s: float, ended_s: float) -> None:
        request_id = self._request_id()
        self.sent += 1
        if answer.kind == "success":
            self.successes += 1
            self.latencies_ms.append(1000 * (ended_s - begun_s))
            self.sent_twice += self._method == "POST" and was_sent_twice(answer.tries)
        else:
            whom = last_tried(answer.tries)
            self.failures.append(Failure(answer.kind, begun_s, ended_s, whom, request_id))
        if not answer.keeps:
            self._drop()
            if answer.kind == "success":
                self.reconnects["closed by an answer"] += 1

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Clients at work, as a context; entered when each of them has had a success."""

    def __init__(self, port: int, method: str, count: int = CLIENTS) -> None:
        self.clients = [Client(port, method, index * PERIOD_S / count) for index in range(count)]
        self._begun_s = 0.0

    def __enter__(self) -> Self:
        self._begun_s = time.monotonic()
        for client in self.clients:
            client.start()
        try:
            self._wait(lambda: all(client.successes for client in self.clients), "all succeed")
        except AssertionError:
            self._finish()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def _finish(self) -> None:
        for client in self.clients:
            client.finish()

    def goes_on(self, requests: int) -> None:
        """Wait until so many more requests have been sent, whatever became of them."""
        mark = self.sent()
        self._wait(lambda: self.sent() >= mark + requests, f"{requests} more requests")

    def lasts(self, seconds: float) -> None:
        """Wait until it is so old; return at once if it is already."""
        end_s = self._begun_s + seconds
        self._wait(lambda: time.monotonic() >= end_s, f"{seconds:g} s of load", seconds + 1)

    def sent(self) -> int:
        return sum(client.sent for client in self.clients)

    def _wait(self, fact: Callable[[], bool], about: str, within_s: float = 30.0) -> None:
        eventually(fact, within_s=within_s, about=about)
