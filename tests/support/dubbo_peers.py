"""Dubbo's protocols over a socket, with nothing of a client: for tests of the providers themselves."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tornado_multi.dubbo.frames import Frame, FrameReader, encode_frame
from tornado_multi.dubbo.invocation import Call, encode_call
from tornado_multi.dubbo.telnet.replies import DEFAULT_PROMPT, ReplyReader

if TYPE_CHECKING:
    import socket

TIMEOUT_S = 30.0
"""What a call tells the provider."""


class BinaryPeer:
    """One connection to the binary port.

    Attributes: received: all bytes since the last call was sent.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.reader = FrameReader()
        self._arrived: deque[Frame] = deque()

    def ask(self, call: Call, number: int = 1) -> Frame:
        """Send a call and return its answer."""
        self.received = bytearray()
        self.sock.sendall(request(call, number))
        answer = self.receive()
        assert answer is not None, "the provider has closed the connection"
        assert (number, False) == (answer.id, answer.is_request), answer
        return answer

    def receive(self) -> Frame | None:
        """Return the next frame, or None at the end of the connection."""
        while not self._arrived:
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self.received += data
            self._arrived += self.reader.feed(data)
        return self._arrived.popleft()


class TextPeer:
    """One connection for text commands.

    Attributes: received: all bytes since the last command was sent.
    """

    def __init__(self, sock: socket.socket, prompt: bytes = DEFAULT_PROMPT) -> None:
        self.sock = sock
        self.received = bytearray()
        self.reader = ReplyReader(prompt)

    def ask(self, line: bytes) -> bytes:
        """Send a line and return its reply, without the prompt."""
        self.received = bytearray()
        self.sock.sendall(line)
        return self.receive()

    def receive(self) -> bytes:
        while True:
            data = self.sock.recv(1 << 16)
            assert data, "the provider has closed the connection"
            self.received += data
            reply = self.reader.feed(data)
            if reply is not None:
                return reply


def request(call: Call, number: int = 1) -> bytes:
    """Return the bytes of a call."""
    return encode_frame(
        Frame(number, encode_call(call, TIMEOUT_S), is_request=True, is_two_way=True)
    )


def read_to_end(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)
