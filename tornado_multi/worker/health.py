"""The health paths, answered by the worker itself: nothing of the app has a part in it.

Live: this process's event loop runs. Ready: it also wants to be sent requests; from the beginning of
its end on (``drain_delay_s``, then the drain) it says no, while it still answers them.
Runs in: worker, on its loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPConnection, RequestStartLine

    from tornado_multi.worker.connections import Connections

METHODS = ("GET", "HEAD")


class Health:
    """What the health paths answer."""

    def __init__(
        self, ready_path: str | None, live_path: str | None, connections: Connections
    ) -> None:
        self._connections = connections
        self.wants_requests = True
        """False: others should send theirs elsewhere; those that come are answered."""
        self._answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {}
        if live_path is not None:
            self._answers[live_path] = self._live
        if ready_path is not None:
            self._answers[ready_path] = self._ready

    def is_asked(self) -> bool:
        """Tell whether there is any path to look for."""
        return bool(self._answers)

    def delegate_for(
        self, start_line: RequestStartLine, connection: HTTPConnection
    ) -> HTTPMessageDelegate | None:
        """Return what answers a request; None: it is the app's."""
        answer = self._answers.get(start_line.path.partition("?")[0])
        return None if answer is None else HealthAnswer(answer, start_line.method, connection)

    def _live(self) -> tuple[int, str, bytes]:
        return 200, "OK", b"alive\n"

    def _ready(self) -> tuple[int, str, bytes]:
        if self.wants_requests and not self._connections.draining:
            return 200, "OK", b"ready\n"
        return 503, "Service Unavailable", b"leaving\n"


class HealthAnswer(HTTPMessageDelegate):
    """Answers one request for a health path."""

    def __init__(
        self,
        answer: Callable[[], tuple[int, str, bytes]],
        method: str,
        connection: HTTPConnection,
    ) -> None:
        self._answer = answer
        self._method = method
        self._connection = connection

    def finish(self) -> None:
        """Write the whole response; the request is read."""
        status, reason, body = self._answer()
        if self._method not in METHODS:
            status, reason, body = 405, "Method Not Allowed", b""
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Cache-Control": "no-store",
                "Content-Length": str(len(body)),
            }
        )
        if status == 405:
            headers["Allow"] = ", ".join(METHODS)
        chunk = None if self._method == "HEAD" else body
        self._connection.write_headers(ResponseStartLine("", status, reason), headers, chunk)
        self._connection.finish()

    def on_connection_close(self) -> None:
        """Do nothing: there is nobody left to answer."""
