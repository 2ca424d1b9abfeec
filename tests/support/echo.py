"""Servers for clients that victims connect too early: each line is sent back on its connection.

They run in threads of the tests' process. A connection that breaks the protocol is dropped, as a
server does whose peer's messages make no sense.
"""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import socketserver
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from support.certificates import Authority
from support.waiting import eventually


class _Lines(socketserver.StreamRequestHandler):
    """Sends each line back."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            self.wfile.write(line)


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers every GET with a few bytes, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    # Its connections may outlive it: they are shut below.
    block_on_close = False
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        if self.tls is not None:
            # The handshake comes with the first read, in the connection's own thread.
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        self.connections.add(request)
        return request, address or ("unix", 0)

    def server_activate(self) -> None:
        self.connections: set[socket.socket] = set()
        super().server_activate()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.discard(request)

    def handle_error(self, *_: Any) -> None:
        """Drop the connection without a word."""

    def end(self) -> None:
        """Stop accepting, and let go of who is still connected."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):  # it has just gone by itself
                connection.shutdown(socket.SHUT_RDWR)
        eventually(lambda: not self.connections, about="every connection is closed")


class _UnixServer(_Server):
    address_family = socketserver.UnixStreamServer.address_family


class EchoServers:
    """Four servers; ``environment`` says where they are."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory)
        signed = authority.sign("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed.certificate, signed.key)
        # Session tickets come unasked for, and would be the first thing that a client reads.
        context.num_tickets = 0
        # A path that the kernel takes for a socket, however long pytest's own is.
        self._directory = Path(tempfile.mkdtemp(prefix="tornado_multi-echo-", dir="/tmp"))
        path = self._directory / "echo.sock"
        self._servers: list[_Server] = [
            _Server(("127.0.0.1", 0), _Lines),
            _Server(("127.0.0.1", 0), _Lines),
            _Server(("127.0.0.1", 0), _Page),
            _UnixServer(str(path), _Lines),
        ]
        self._servers[1].tls = context
        tcp, tls, page = [str(server.server_address[1]) for server in self._servers[:3]]
        self.environment = {
            "ECHO_PORT": tcp,
            "ECHO_TLS_PORT": tls,
            "ECHO_TLS_CA": str(authority.file),
            "ECHO_SOCKET": str(path),
            "PAGE_URL": f"http://127.0.0.1:{page}/",
        }

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.end()
        shutil.rmtree(self._directory)
