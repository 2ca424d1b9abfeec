"""A websocket client of thirty lines: enough to see close frames. Source: RFC 6455."""

from __future__ import annotations

import socket
import struct

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = 8


def open_websocket(port: int, path: str = "/echo") -> socket.socket:
    """Connect and shake hands."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(HANDSHAKE.format(path=path).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += receive(sock, 1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return sock


def receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        assert part, f"closed after {data!r}"
        data += part
    return data


def read_close_code(sock: socket.socket) -> int:
    """Read one frame, which must be a close frame, answer it and return its code."""
    head = receive(sock, 2)
    payload = receive(sock, head[1] & 0x7F)
    assert head[0] & 0x0F == CLOSE, head
    code = struct.unpack("!H", payload[:2])[0]
    sock.sendall(bytes([0x80 | CLOSE, 0x80 | 2, 0, 0, 0, 0]) + payload[:2])
    return int(code)
