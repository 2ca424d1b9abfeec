"""Clients that keep their connections and tell a lost request from a connection closed in time."""

from __future__ import annotations

import http.client
import select
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

from support.waiting import eventually, pause

if TYPE_CHECKING:
    from collections.abc import Sequence

PACE_S = 0.005
BODY = b"x" * 4096
LOST = "a kept connection was closed while a request was sent on it"
"""RFC 9112, 9.5: HTTP/1.1's own race; no byte of an answer came."""


class KeepingClient(threading.Thread):
    """Sends requests one after the other on one connection, as long as that is kept.

    One that was closed before the next request is opened anew, as every client does; whatever goes
    wrong once a byte was sent is a failure.
    """

    def __init__(self, port: int, method: str, path: str, pace_s: float) -> None:
        super().__init__(daemon=True)
        self._port, self._method, self._path, self._pace_s = port, method, path, pace_s
        self._leave = threading.Event()
        self.results: Counter[str] = Counter()
        self.reconnects = 0

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._leave.is_set():
            if connection is not None and _has_been_closed(connection):
                connection.close()
                connection = None
                self.reconnects += 1
            is_kept = connection is not None
            connection = connection or http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=30
            )
            kind = self._send(connection, is_kept=is_kept)
            self.results[kind] += 1
            if kind != "200":
                connection.close()
                connection = None
            pause(self._pace_s)
        if connection is not None:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, *, is_kept: bool) -> str:
        try:
            body = BODY if self._method == "POST" else None
            connection.request(self._method, self._path, body=body)
            response = connection.getresponse()
            response.read()
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            return LOST if is_kept else repr(error)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return str(response.status)

    def finish(self) -> None:
        """Let the request in hand end."""
        self._leave.set()
        self.join(60)
        assert not self.is_alive()


def _has_been_closed(connection: http.client.HTTPConnection) -> bool:
    if connection.sock is None:
        return False  # it opens at the next request
    return bool(select.select([connection.sock], [], [], 0)[0])


class Crowd:
    """Some clients at work, as a context."""

    def __init__(
        self, port: int, ways: Sequence[tuple[str, str]], each: int, pace_s: float = PACE_S
    ) -> None:
        self.clients = [
            KeepingClient(port, method, path, pace_s) for method, path in ways for _ in range(each)
        ]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.finish()

    def results(self) -> Counter[str]:
        """Return the outcomes so far: a status, or what went wrong."""
        return sum((client.results for client in list(self.clients)), Counter())

    def failures(self) -> dict[str, int]:
        return {kind: count for kind, count in self.results().items() if kind != "200"}

    def goes_on(self, requests: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.results().total() + requests
        eventually(lambda: self.results().total() >= wanted, within_s=60)
