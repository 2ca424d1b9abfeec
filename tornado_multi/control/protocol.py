"""Bytes of the control socket. No I/O.

A connection carries one request line and any number of reply lines, each a JSON object in UTF-8
ended by a line feed. Request: ``{"v": 1, "command": "status"}``. Replies: ``{"event": NAME, ...}``
while it lasts, the last one ``{"event": "done", ...}`` or ``{"event": "error", "text": ...}``.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

PROTOCOL_VERSION = 1
MAX_REQUEST_BYTES = 64 * 1024
MAX_REPLY_BYTES = 16 * 1024 * 1024
PEER_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED returns: pid, uid, gid (unix(7))."""


class RequestError(Exception):
    """The client's bytes are no request; the text is for the client."""


class ReplyError(Exception):
    """The supervisor's bytes are no reply of this protocol version."""


@dataclass(frozen=True, slots=True)
class Request:
    """One command to the supervisor."""

    command: str
    arguments: dict[str, Any] = field(default_factory=dict)


def encode_request(request: Request) -> bytes:
    """Return the request line, at most MAX_REQUEST_BYTES long."""
    record = {"v": PROTOCOL_VERSION, "command": request.command, **request.arguments}
    return json.dumps(record).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Parse one request line.

    Raises: RequestError: not JSON, another version, no command.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        text = "The request is not a line of JSON."
        raise RequestError(text) from error
    if not isinstance(record, dict):
        text = "The request is not a JSON object."
        raise RequestError(text)
    version, command = record.pop("v", None), record.pop("command", None)
    if version != PROTOCOL_VERSION:
        text = f"The request has version {version!r}; this supervisor speaks {PROTOCOL_VERSION}."
        raise RequestError(text)
    if not isinstance(command, str):
        text = "The request names no command."
        raise RequestError(text)
    return Request(command, record)


def encode_reply(event: str, values: dict[str, Any]) -> bytes:
    """Return one reply line. Bytes of a path that are no UTF-8 become question marks."""
    text = json.dumps({"event": event} | values, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def decode_reply(line: bytes) -> dict[str, Any]:
    """Parse one reply line; the result has a text under "event".

    Raises: ReplyError: it isn't one.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        text = f"The supervisor's answer is no JSON: {line[:80]!r}."
        raise ReplyError(text) from error
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        text = f"The supervisor's answer has no event: {line[:80]!r}."
        raise ReplyError(text)
    return record
