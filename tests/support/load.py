"""Keep-alive clients that sort every request: success, refused, reset, empty, timeout, other."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


class KeepAliveClient(threading.Thread):
    """Sends request after request on one connection; opens a new one when it is closed."""

    def __init__(self, port: int, path: str = "/", timeout_s: float = 10.0) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._path = path
        self._timeout_s = timeout_s
        self._leave = threading.Event()
        self.results: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.served_by: bytes = b""

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._leave.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self._port, timeout=self._timeout_s
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
        return Counter({kind: n for kind, n in self.results.items() if kind != "success"})

    def finish(self) -> None:
        self._leave.set()
        self.join(30)
        assert not self.is_alive()


class Load:
    """Several clients at once, as a context."""

    def __init__(self, port: int, clients: int, path: str = "/") -> None:
        self.clients = [KeepAliveClient(port, path) for _ in range(clients)]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        eventually(lambda: all(client.results["success"] > 0 for client in self.clients))
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.finish()

    def errors(self) -> Counter[str]:
        return sum((client.errors() for client in self.clients), Counter())

    def successes(self) -> int:
        return sum(client.results["success"] for client in self.clients)

    def until(self, probe: Callable[[], bool], within_s: float = 20.0) -> None:
        eventually(probe, within_s=within_s)
