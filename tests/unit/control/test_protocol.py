"""Bytes of the control socket."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tornado_multi.control.protocol import (
    MAX_REQUEST_BYTES,
    ReplyError,
    Request,
    RequestError,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

REQUESTS = [
    Request("status"),
    Request("stop", {"no_wait": True}),
    Request("restart", {"fork_id": 3, "note": "é\n\0"}),
    Request("", {}),
]
REPLIES: list[tuple[str, dict[str, Any]]] = [
    ("done", {}),
    ("done", {"status": {"workers": [{"fork_id": 0, "route": None}]}}),
    ("error", {"text": "No: é\n\0"}),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_survives(request_: Request) -> None:
    """Command and arguments; one line, whatever is in them."""
    line = encode_request(request_)

    assert request_ == decode_request(line)
    assert 1 == line.count(b"\n")
    assert line.endswith(b"\n")
    assert len(line) <= MAX_REQUEST_BYTES


@pytest.mark.parametrize(("event", "values"), REPLIES)
def test_a_reply_survives(event: str, values: dict[str, Any]) -> None:
    """Event and values; one line, whatever is in them."""
    line = encode_reply(event, values)

    assert {"event": event} | values == decode_reply(line)
    assert 1 == line.count(b"\n")
    assert line.endswith(b"\n")


def test_a_reply_is_always_utf8() -> None:
    """A path with bytes that are no UTF-8 (a lone surrogate) must not cost the whole answer."""
    line = encode_reply("done", {"control": "/run/\udcff.sock"})

    assert "done" == decode_reply(line)["event"]
    line.decode("utf-8")


def test_the_request_is_what_people_can_type() -> None:
    """With nc and a line of JSON one can ask, too."""
    assert Request("status") == decode_request(b'{"v": 1, "command": "status"}\n')
    assert b'{"v": 1, "command": "status"}\n' == encode_request(Request("status"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "The request is not a line of JSON."),
        (b"\n", "The request is not a line of JSON."),
        (b"status\n", "The request is not a line of JSON."),
        (b"GET / HTTP/1.1\r\n", "The request is not a line of JSON."),
        (b"\xff\xfe\n", "The request is not a line of JSON."),
        (b"[" * 60_000, "The request is not a line of JSON."),
        (b"1" * 10_000, "The request is not a line of JSON."),
        (b"[]\n", "The request is not a JSON object."),
        (b"null\n", "The request is not a JSON object."),
        (b'"status"\n', "The request is not a JSON object."),
        (b"{}\n", "The request has version None; this supervisor speaks 1."),
        (
            b'{"v": 2, "command": "status"}\n',
            "The request has version 2; this supervisor speaks 1.",
        ),
        (b'{"v": 1}\n', "The request names no command."),
        (b'{"v": 1, "command": null}\n', "The request names no command."),
        (b'{"v": 1, "command": ["status"]}\n', "The request names no command."),
    ],
)
def test_what_is_no_request_is_told_why(line: bytes, said: str) -> None:
    """The text is for the client: one full sentence."""
    with pytest.raises(RequestError) as caught:
        decode_request(line)
    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "is no JSON"),
        (b"garbage", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 60_000, "is no JSON"),
        (b"[]", "has no event"),
        (b"{}", "has no event"),
        (b'{"event": 3}', "has no event"),
    ],
)
def test_what_is_no_reply_is_told(line: bytes, said: str) -> None:
    """With the beginning of what was seen, no more."""
    with pytest.raises(ReplyError, match=said) as caught:
        decode_reply(line)
    assert len(str(caught.value)) < 500


def mutated(rng: random.Random, data: bytes) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(4):
            case 0:
                broken[at:at] = rng.randbytes(rng.randint(1, 8))
            case 1:
                del broken[at : at + rng.randint(1, 10)]
            case 2:
                broken[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                broken[at:at] = rng.choice([b"{", b"[", b'"', b"null", b"1e999", b"\\ud800"])
    return bytes(broken)


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_are_a_request_or_refused(seed: int) -> None:
    """Nothing but RequestError; and what is said of it can always be answered."""
    rng = random.Random(seed)
    for _ in range(1000):
        if rng.random() < 0.3:
            line = rng.randbytes(rng.randint(0, 50))
        else:
            line = mutated(rng, encode_request(rng.choice(REQUESTS)))
        try:
            request = decode_request(line)
        except RequestError as error:
            answer = encode_reply("error", {"text": str(error)})
        else:
            answer = encode_reply("error", {"text": f"no command {request.command!r}"})

        assert "error" == decode_reply(answer)["event"], line


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_are_a_reply_or_refused(seed: int) -> None:
    """Nothing but ReplyError, whatever answers."""
    rng = random.Random(seed)
    for _ in range(1000):
        if rng.random() < 0.3:
            line = rng.randbytes(rng.randint(0, 50))
        else:
            line = mutated(rng, encode_reply(*rng.choice(REPLIES)))
        try:
            reply = decode_reply(line)
        except ReplyError:
            continue

        assert isinstance(reply["event"], str), line
