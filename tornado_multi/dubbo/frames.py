"""Frames of the Dubbo protocol: a header of 16 bytes and a body. Pure.

Header, big-endian: ``DA BB``, flags, status, int64 id, int32 length of the body.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from tornado_multi.dubbo.errors import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\xda\xbb"
HESSIAN2 = 2
"""The serialization that every Dubbo has."""
MOST_BODY_BYTES = 64 * 1024 * 1024
"""What we take. A provider sends no more than its own ``dubbo.protocol.payload``, which may be higher."""
PAYLOAD_BYTES = 8 * 1024 * 1024
"""Dubbo's default for the body of a request and of an answer. A larger request gets no answer from
2.x and a failure from 3.x; in place of a larger answer comes a failure from all."""
MOST_SKIPPED_BYTES = 1024**3
"""A larger claim is no frame's."""
_HEADER = struct.Struct(">2sBBqi")
_REQUEST, _TWO_WAY, _EVENT, _SERIALIZATION = 0x80, 0x40, 0x20, 0x1F
NULL = b"N"
READ_ONLY = b"\x01R"
"""The body of the event with which a provider that will stop asks for no further call."""


class Status(IntEnum):
    """How a request was answered (ExchangeCodec and Response of Dubbo 3.3)."""

    OK = 20
    SERIALIZATION_ERROR = 25
    CLIENT_TIMEOUT = 30
    SERVER_TIMEOUT = 31
    CHANNEL_INACTIVE = 35
    BAD_REQUEST = 40
    BAD_RESPONSE = 50
    SERVICE_NOT_FOUND = 60
    SERVICE_ERROR = 70
    SERVER_ERROR = 80
    CLIENT_ERROR = 90
    THREADS_EXHAUSTED = 100


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of either side."""

    id: int
    body: bytes
    is_request: bool
    is_two_way: bool = False
    is_event: bool = False
    status: int = 0
    """Of a response; see ``Status``."""
    serialization: int = HESSIAN2
    skipped_bytes: int = 0
    """Length of a body that was too large to be kept: it is read away, and ``body`` is empty."""

    def is_read_only_event(self) -> bool:
        """Tell whether the provider asks for no further call on this connection."""
        return self.is_event and self.is_request and self.body == READ_ONLY


def encode_frame(frame: Frame, number: int | None = None) -> bytes:
    """Return the bytes of a frame. Args: number: in place of its own."""
    frame_id = frame.id if number is None else number
    flags = frame.serialization
    flags |= _REQUEST * frame.is_request | _TWO_WAY * frame.is_two_way | _EVENT * frame.is_event
    return _HEADER.pack(MAGIC, flags, frame.status, frame_id, len(frame.body)) + frame.body


def heartbeat(number: int) -> bytes:
    """Return a heartbeat, which the other side answers."""
    return encode_frame(Frame(number, NULL, is_request=True, is_two_way=True, is_event=True))


def heartbeat_answer(asked: Frame) -> bytes:
    """Return the answer to the other side's heartbeat."""
    return encode_frame(
        Frame(asked.id, NULL, is_request=False, is_event=True, status=int(Status.OK))
    )


class FrameReader:
    """Cuts what arrives into frames, however it was split on its way."""

    def __init__(self, most_body_bytes: int = MOST_BODY_BYTES) -> None:
        self._most_body_bytes = most_body_bytes
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._wanted_bytes = _HEADER.size
        """How many bytes must be there before a look is worth it: parts are joined once per frame."""
        self._to_skip_bytes = 0

    def is_between_frames(self) -> bool:
        """Tell whether no part of a frame is waiting for its end."""
        return self._held_bytes == 0 and self._to_skip_bytes == 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each frame that *data* completes, and one that is too large as soon as it is known.

        Raises: BadReplyError: it can't be a frame; the rest of the connection is worth nothing then.
        """
        if self._to_skip_bytes:
            skipped = min(len(data), self._to_skip_bytes)
            self._to_skip_bytes -= skipped
            data = data[skipped:]
            if not data:
                return
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._wanted_bytes:
            return
        held = b"".join(self._parts)
        begin = 0
        try:
            while len(held) - begin >= _HEADER.size:
                magic, flags, status, number, length = _HEADER.unpack_from(held, begin)
                self._check(magic, length)
                end = begin + _HEADER.size + length
                is_too_large = length > self._most_body_bytes
                if is_too_large:
                    self._to_skip_bytes = max(0, end - len(held))
                elif end > len(held):
                    break
                yield Frame(
                    number,
                    b"" if is_too_large else held[begin + _HEADER.size : end],
                    is_request=bool(flags & _REQUEST),
                    is_two_way=bool(flags & _TWO_WAY),
                    is_event=bool(flags & _EVENT),
                    status=status,
                    serialization=flags & _SERIALIZATION,
                    skipped_bytes=length if is_too_large else 0,
                )
                begin = min(end, len(held))
        finally:
            rest = held[begin:]
            self._parts, self._held_bytes = [rest] if rest else [], len(rest)
            self._wanted_bytes = _HEADER.size
            if len(rest) >= _HEADER.size:
                self._wanted_bytes += max(0, _HEADER.unpack_from(rest)[4])

    def _check(self, magic: bytes, length: int) -> None:
        if magic != MAGIC:
            text = f"What arrived is no Dubbo frame: it begins with {magic!r}. Is it a Dubbo port?"
            raise BadReplyError(text)
        if not 0 <= length <= max(self._most_body_bytes, MOST_SKIPPED_BYTES):
            text = f"A frame claims {length} bytes; no answer is as large."
            raise BadReplyError(text)
