"""Frames: bytes of a real provider, however they are split, and bytes that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_multi.dubbo.errors import BadReplyError
from tornado_multi.dubbo.frames import (
    Frame,
    FrameReader,
    Status,
    encode_frame,
    heartbeat,
    heartbeat_answer,
)

HEARTBEAT = bytes.fromhex("dabbe2000000000000000007000000014e")
ANSWERED = bytes.fromhex("dabb22140000000000000007000000014e")
ECHOED = bytes.fromhex("dabb0214000000000000000100000012940268694805647562626f05322e302e325a")


def read(data: bytes, *cuts: int, limit: int = 1000) -> list[Frame]:
    reader = FrameReader(limit)
    frames = []
    for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        frames += reader.feed(data[begin:end])
    assert reader.is_between_frames()
    return frames


def test_captured_frames() -> None:
    """A heartbeat, its answer, and the answer of a call."""
    asked, answered, echoed = read(HEARTBEAT + ANSWERED + ECHOED)

    assert (True, True, True, 7) == (asked.is_request, asked.is_two_way, asked.is_event, asked.id)
    assert HEARTBEAT == heartbeat(7)
    assert ANSWERED == heartbeat_answer(asked)
    assert (False, True, Status.OK) == (answered.is_request, answered.is_event, answered.status)
    assert (1, Status.OK, ECHOED[16:]) == (echoed.id, echoed.status, echoed.body)


@pytest.mark.parametrize("cut", range(1, len(HEARTBEAT + ECHOED)))
def test_split_at_each_byte(cut: int) -> None:
    """The same frames."""
    data = HEARTBEAT + ECHOED

    assert read(data) == read(data, cut)


def test_one_byte_at_a_time() -> None:
    """The same frames, each as soon as its last byte is there."""
    reader = FrameReader()
    counts = [len(list(reader.feed(bytes([byte])))) for byte in HEARTBEAT + ECHOED]

    assert [len(HEARTBEAT) - 1, len(HEARTBEAT + ECHOED) - 1] == [
        index for index, count in enumerate(counts) if count
    ]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=6), st.data())
def test_any_split(bodies: list[bytes], data: st.DataObject) -> None:
    """Wherever and however often the stream is cut."""
    sent = [Frame(number, body, is_request=False) for number, body in enumerate(bodies)]
    stream = b"".join(map(encode_frame, sent))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=30)))

    assert sent == read(stream, *cuts)


def test_a_large_frame_costs_linear_time() -> None:
    """Its parts are put together once, when the last one is there."""
    reader = FrameReader()
    stream = encode_frame(Frame(1, b"x" * 5_000_000, is_request=False))
    seen = []
    for begin in range(0, len(stream), 4096):
        seen += reader.feed(stream[begin : begin + 4096])
        assert len(reader._parts) > 1 or begin == 0 or seen

    assert 5_000_000 == len(seen[0].body)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "Is it a Dubbo port"),
        (bytes.fromhex("dabb0214000000000000000180000000"), "claims -2147483648 bytes"),
        (bytes.fromhex("dabb021400000000000000017fffffff"), "claims 2147483647 bytes"),
        (bytes.fromhex("dabb0214000000000000000140000001"), "claims 1073741825 bytes"),
    ],
)
def test_bytes_that_are_no_frame(data: bytes, said: str) -> None:
    """Refused at their header: nothing is allocated for a length that is only claimed."""
    with pytest.raises(BadReplyError, match=said):
        read(data)


def test_what_came_before_a_bad_frame_is_still_given() -> None:
    """A call that was answered is answered."""
    stream = FrameReader().feed(ANSWERED + b"no frame at all!")

    assert 7 == next(stream).id
    with pytest.raises(BadReplyError):
        next(stream)


def test_the_event_of_a_provider_that_stops() -> None:
    """One-way, with the text R."""
    (event,) = read(bytes.fromhex("dabba2000000000000000003000000020152"))

    assert event.is_read_only_event()
    assert not event.is_two_way
    assert not read(HEARTBEAT)[0].is_read_only_event()


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 500, 1016, 1017, 1018, 1040])
def test_a_frame_that_is_too_large_is_read_away(cut: int) -> None:
    """It is told without its body as soon as its header is there; the next one is whole."""
    large = encode_frame(Frame(7, b"x" * 1001, is_request=False, status=20))
    next_one = Frame(8, b"y" * 10, is_request=False, status=20)
    first, second = read(large + encode_frame(next_one), cut)

    assert (7, 1001, b"") == (first.id, first.skipped_bytes, first.body)
    assert next_one == second
    reader = FrameReader(1000)
    assert [7] == [frame.id for frame in reader.feed(large[:16])]
    assert not reader.is_between_frames()
