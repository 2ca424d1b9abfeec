"""Keep-alive clients that post bodies, over TCP or a unix socket, and sort every answer."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

from support.waiting import pause

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

BODY = b"x" * 16384


class UnixConnection(http.client.HTTPConnection):
    """HTTP or, with a context, HTTPS over a unix socket."""

    def __init__(self, path: str, timeout_s: float, context: ssl.SSLContext | None = None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._context = context

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname="localhost")


class PostingClient(threading.Thread):
    """Posts at least *count* bodies, with pauses of 0..*pause_s*, and on until ``enough`` is set."""

    def __init__(
        self,
        address: str | int,
        count: int,
        pause_s: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._context = context
        self._count = count
        self._pause_s = pause_s
        self.enough = threading.Event()
        self.posted = 0
        self.results: Counter[str] = Counter()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while self.posted < self._count or not self.enough.is_set():
            if connection is None:
                connection = self._connect()
            kind, keep = self._post(connection)
            self.results[kind] += 1
            self.posted += 1
            if not keep:
                connection.close()
                connection = None
            if self._pause_s:
                pause(random.uniform(0, self._pause_s))
        if connection is not None:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if isinstance(self._address, str):
            return UnixConnection(self._address, 20, self._context)
        if self._context is not None:
            return http.client.HTTPSConnection(
                "127.0.0.1", self._address, timeout=20, context=self._context
            )
        return http.client.HTTPConnection("127.0.0.1", self._address, timeout=20)

    @staticmethod
    def _post(connection: http.client.HTTPConnection) -> tuple[str, bool]:
        try:
            connection.request("POST", "/upload", body=BODY)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            return repr(error), False
        kept = response.getheader("Connection", "").lower() != "close"
        good = response.status == 200 and body == str(len(BODY)).encode()
        return ("success" if good else f"{response.status} {body[:50]!r}"), kept


class TimedClient(threading.Thread):
    """One request on a connection of its own, and how it went."""

    def __init__(self, address: str | int, path: str = "/") -> None:
        super().__init__(daemon=True)
        self._address = address
        self._path = path
        self.connected = False
        self.result = "none"

    def run(self) -> None:
        try:
            self.result = self._request()
        except ConnectionRefusedError:
            self.result = "refused"
        except FileNotFoundError:  # the path of a unix socket is gone: nobody listens there
            self.result = "refused"
        except OSError as error:
            self.result = repr(error)

    def _request(self) -> str:
        family = socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET
        with socket.socket(family) as sock:
            sock.settimeout(20)
            target = self._address if family == socket.AF_UNIX else ("127.0.0.1", self._address)
            sock.connect(target)
            self.connected = True
            head = f"GET {self._path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            answer = b""
            while part := sock.recv(65536):
                answer += part
        return "success" if answer.startswith(b"HTTP/1.1 200") else f"empty {answer!r}"


class RawKeepAliveClient(threading.Thread):
    """Sends request after request on one connection, with the HTTP version asked for."""

    def __init__(self, port: int, version: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._request = (
            f"GET / HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".encode()
        )
        self._version = version
        self.enough = threading.Event()
        self.results: Counter[str] = Counter()

    def run(self) -> None:
        while not self.enough.is_set():
            with socket.create_connection(("127.0.0.1", self._port), timeout=20) as sock:
                self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as reader:
            while not self.enough.is_set():
                try:
                    sock.sendall(self._request)
                    kind, kept = self._read(reader)
                except OSError as error:
                    kind, kept = repr(error), False
                self.results[kind] += 1
                if not kept:
                    return

    def _read(self, reader: BinaryIO) -> tuple[str, bool]:
        status = reader.readline()
        if not status:
            return "empty", False
        headers = http.client.parse_headers(reader)
        reader.read(int(headers["Content-Length"]))
        wish = headers.get("Connection", "").lower()
        kept = wish != "close" if self._version == "1.1" else wish == "keep-alive"
        return ("success" if b" 200 " in status else repr(status)), kept


def post_through_reloads(
    clients: list[PostingClient], reload: Callable[[], bool], at_least: int = 5
) -> tuple[Counter[str], int]:
    """Let clients post while reloads go on in a loop. Returns how posts ended, and how many reloads.

    Args: at_least: so many reloads; then clients that have posted enough leave.
    """
    for client in clients:
        client.start()
    reloads = 0
    while reloads < at_least or any(client.is_alive() for client in clients):
        assert reload(), "a reload failed"
        reloads += 1
        if reloads == at_least:
            for client in clients:
                client.enough.set()
    for client in clients:
        client.join(60)
    return sum((client.results for client in clients), Counter()), reloads
