"""Keep-alive clients that sort every request: success, refused, reset, empty, timeout, other.

Runs in: tests, each client in a thread.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

from tornado_multi.testing.errors import HIDE_OUR_FRAMES
from tornado_multi.testing.fetching import connection_to
from tornado_multi.testing.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

__tracebackhide__ = HIDE_OUR_FRAMES
FIRST_SUCCESS_WITHIN_S = 15.0
LEAVE_WITHIN_S = 30.0


class KeepAliveClient(threading.Thread):
    """Sends request after request on one connection; opens a new one when it is closed."""

    def __init__(
        self,
        port: int,
        path: str = "/",
        timeout_s: float = 10.0,
        host: str = "127.0.0.1",
        *,
        tls: bool = False,
    ) -> None:
        super().__init__(daemon=True)
        self._tls = tls
        self._host = host
        self._port = port
        self._path = path
        self._timeout_s = timeout_s
        self._leave = threading.Event()
        self.results: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.served_by: bytes = b""
        """The body of the last answer."""

    def run(self) -> None:
        """Send until ``finish`` is called."""
        connection: http.client.HTTPConnection | None = None
        while not self._leave.is_set():
            if connection is None:
                connection = connection_to(
                    self._host, self._port, tls=self._tls, timeout_s=self._timeout_s
                )
            kind, keep = self._request(connection)
            self.results[kind] += 1
            if not keep:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _request(self, connection: http.client.HTTPConnection) -> tuple[str, bool]:
        try:
            connection.request("GET", self._path)
            response = connection.getresponse()
            body = response.read()
        except ConnectionRefusedError:
            return "refused", False
        except http.client.RemoteDisconnected:
            return "empty", False
        except (ConnectionResetError, BrokenPipeError):
            return "reset", False
        except TimeoutError:
            return "timeout", False
        except (OSError, http.client.HTTPException) as error:
            return f"other {error!r}", False
        self.bodies[body] += 1
        self.served_by = body
        kept = response.getheader("Connection", "").lower() != "close"
        return ("success" if response.status == 200 else f"status {response.status}"), kept

    def errors(self) -> Counter[str]:
        """Return what was no success, by kind."""
        return Counter({kind: n for kind, n in self.results.copy().items() if kind != "success"})

    def finish(self) -> None:
        """Let the request in hand end, and wait for that."""
        self._leave.set()
        self.join(LEAVE_WITHIN_S)
        assert not self.is_alive(), f"a client did not end within {LEAVE_WITHIN_S:g} s"


class Load:
    """Several clients at once, as a context; entered when each of them has had a success."""

    def __init__(
        self,
        port: int,
        clients: int,
        path: str = "/",
        host: str = "127.0.0.1",
        *,
        tls: bool = False,
    ) -> None:
        self._path = path
        self.clients = [KeepAliveClient(port, path, host=host, tls=tls) for _ in range(clients)]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        try:
            wait_for(
                lambda: all(client.results["success"] > 0 for client in self.clients),
                within_s=FIRST_SUCCESS_WITHIN_S,
                about=f"each client has had a success on {self._path}",
            )
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f"{error}; results: {dict(self.results)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.finish()

    @property
    def results(self) -> Counter[str]:
        """How many requests ended how, of all clients together.

        ``success`` (status 200), ``status N``, ``refused``, ``reset``, ``empty`` (closed without an
        answer), ``timeout``, or ``other`` with the error.
        """
        return sum((client.results.copy() for client in self.clients), Counter())

    def errors(self) -> Counter[str]:
        """Return what was no success, by kind."""
        return sum((client.errors() for client in self.clients), Counter())

    def successes(self) -> int:
        """Return how many requests were answered with 200."""
        return self.results["success"]

    def until(self, probe: Callable[[], bool], within_s: float = 20.0) -> None:
        """Go on until something is true."""
        wait_for(probe, within_s=within_s)
