"""What real providers of three versions have sent, without Java: every reply is read as it was then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import captures
from support.account_calls import (
    CALLS,
    FAILURES,
    SERVICE,
    TEXT_BY_VERSION,
    TEXT_CALLS,
    TEXT_FAILURES,
)
from support.dubbo_peers import request

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.frames import Frame, FrameReader, Status, encode_frame
from tornado_multi.dubbo.invocation import decode_answer
from tornado_multi.dubbo.telnet.commands import HANDSHAKE, encode_invoke
from tornado_multi.dubbo.telnet.replies import ReplyReader, decode_reply, parse_invoke

if TYPE_CHECKING:
    from support.account_calls import AccountCall
    from support.captures import Capture

VERSIONS = captures.versions()
OF_BINARY = [
    pytest.param(version, capture, id=f"{version}-{capture.name}")
    for version in VERSIONS
    for capture in captures.read(version, "binary")
]
OF_TEXT = [
    pytest.param(version, kind, capture, id=f"{version}-{kind}-{capture.name}")
    for version in VERSIONS
    for kind in ("text", "qos", "http")
    for capture in captures.read(version, kind)
]
RETURNED = {case.name: case for case in CALLS}
FAILED = {case.name: case for case in FAILURES}
TEXT_RETURNED = {case.name: case for case in TEXT_CALLS}
TEXT_FAILED = {case.name: case for case in TEXT_FAILURES}


def frames(data: bytes) -> list[Frame]:
    """Return the frames of *data*, which are the same one byte at a time."""
    whole = list(FrameReader().feed(data))
    reader = FrameReader()
    singly = [frame for byte in data for frame in reader.feed(bytes([byte]))]
    assert whole == singly
    assert reader.is_between_frames()
    return whole


def reply_of(data: bytes) -> str:
    """Return the reply that *data* is, also one byte at a time."""
    whole = ReplyReader().feed(data)
    reader = ReplyReader()
    singly = [found for byte in data if (found := reader.feed(bytes([byte]))) is not None]
    assert [whole] == singly
    assert reader.is_clean()
    assert whole is not None
    return decode_reply(whole, "utf-8")


def test_there_are_captures_of_each_generation() -> None:
    """2.6, 2.7 and 3.x, with every call that is not too large for them."""
    assert ["2.6", "2.7", "3.3"] == [version[:3] for version in VERSIONS]
    for version in VERSIONS:
        kept = {capture.name for capture in captures.read(version, "binary")}
        assert {case.name for case in (*CALLS, *FAILURES)} - kept <= {"echo-70000", "big", "length"}
        assert {"banner", "read-only"} <= {
            capture.name for capture in captures.read(version, "event")
        }


@pytest.mark.parametrize(("version", "capture"), OF_BINARY)
def test_binary_answers(version: str, capture: Capture) -> None:
    """Values and errors of calls; the bytes of a call are those that were answered."""
    (answer,) = frames(capture.reply)
    if (case := RETURNED.get(capture.name)) is not None:
        assert request(case.call()) == capture.request
        assert case.returned == decode_answer(answer.status, answer.body, case.name).value
    elif (failing := FAILED.get(capture.name)) is not None:
        assert request(failing.call) == capture.request
        with pytest.raises(errors.DubboError) as caught:
            decode_answer(answer.status, answer.body, failing.name)
        failing.check(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_frame_is_written_as_it_was(version: str) -> None:
    """Our encoder and Java's agree on headers, those of events included."""
    for kind in ("binary", "event"):
        for capture in captures.read(version, kind):
            if capture.name != "banner":
                assert capture.reply == b"".join(map(encode_frame, frames(capture.reply)))


@pytest.mark.parametrize("version", VERSIONS)
def test_events(version: str) -> None:
    """The farewell of a provider is one, and a heartbeat is none."""
    kept = {capture.name: capture for capture in captures.read(version, "event")}

    assert frames(kept["read-only"].reply)[-1].is_read_only_event()
    if version.startswith("2.6"):
        (heartbeat,) = frames(kept["heartbeat"].reply)
        assert (True, True, False) == (
            heartbeat.is_event,
            heartbeat.is_two_way,
            heartbeat.is_read_only_event(),
        )


@pytest.mark.parametrize(("version", "kind", "capture"), OF_TEXT)
def test_text_replies(version: str, kind: str, capture: Capture) -> None:
    """Values and errors of calls in every version's form, with and without a prompt."""
    if capture.reply.startswith(b"HTTP/1.1 404 "):
        assert not version.startswith("3") or capture.name == "nosuch"
        return
    if kind == "http":
        text = capture.reply.partition(b"\r\n\r\n")[2].decode()
    else:
        text = reply_of(capture.reply)
    if text.endswith(":no such command\r\n") or "Unsupported command" in text:
        with pytest.raises(errors.RefusedError):
            parse_invoke(text, capture.name)
    elif (case := TEXT_RETURNED.get(capture.name)) is not None:
        returned = TEXT_BY_VERSION.get((version, case.name), case.returned)
        assert (kind, capture.request) in {(kind, text_request(case)), ("http", capture.request)}
        assert returned == parse_invoke(text, case.name)
    elif (failing := TEXT_FAILED.get(capture.name)) is not None:
        with pytest.raises(errors.DubboError) as caught:
            parse_invoke(text, failing.name)
        failing.check(caught.value)
    elif capture.request == HANDSHAKE:
        assert "" == text


def text_request(case: AccountCall) -> bytes:
    return encode_invoke(SERVICE, case.method, case.args)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_over_the_limit_of_the_provider(version: str) -> None:
    """It may have done the call: which of the two messages was too large is not said."""
    kept = {capture.name: capture for capture in captures.read(version, "binary")}
    (answer,) = frames(kept["too-large"].reply)

    assert answer.status in {Status.SERIALIZATION_ERROR, Status.BAD_RESPONSE}
    with pytest.raises(errors.OutcomeUnknownError, match=r"dubbo\.protocol\.payload"):
        decode_answer(answer.status, answer.body, "big")


@pytest.mark.parametrize("version", VERSIONS)
def test_parts_that_are_named_by_their_path(version: str) -> None:
    """JSON of 2.x has what was there before in form of a path: no data, and refused as such."""
    for kind in ("text", "qos"):
        for capture in captures.read(version, kind):
            if capture.name == "nested" and b"$ref" in capture.reply:
                with pytest.raises(errors.BadReplyError, match="binary protocol"):
                    parse_invoke(reply_of(capture.reply), "nested")
