"""One end of a SOCK_SEQPACKET pair."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from tornado_multi.process import messages as msg
from tornado_multi.process.channel import MAX_FDS, Channel, ChannelClosed, Received
from tornado_multi.process.messages import MAX_MESSAGE_BYTES, RemoteProtocolError, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = msg.BootFailed("", "x" * (MAX_MESSAGE_BYTES - len(encode(msg.BootFailed("", "")))))


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def raw_pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and a peer that may say anything."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def open_fds() -> list[str]:
    return os.listdir("/proc/self/fd")


def is_readable(channel: Channel) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def fill(channel: Channel) -> int:
    """Send numbered messages until one is refused; return how many were not."""
    for sent in range(100_000):
        try:
            channel.send(msg.Fork(sent, 0))
        except BlockingIOError:
            return sent
    raise AssertionError("an end that nobody reads is never full")


# --- messages -------------------------------------------------------------------------------------


def test_messages_arrive_one_by_one_in_order(pair: tuple[Channel, Channel]) -> None:
    """One datagram is one message: no two stick together, none is torn."""
    ours, theirs = pair
    sent = [msg.Fork(0, 0), msg.Drain(1.5), msg.Draining(), LARGEST, msg.Notice("é", "ü")]
    for message in sent:
        ours.send(message)

    assert [Received(message, ()) for message in sent] == [theirs.receive() for _ in sent]


def test_both_ends_send(pair: tuple[Channel, Channel]) -> None:
    """A pair has no direction."""
    ours, theirs = pair
    ours.send(msg.Drain(1.0))
    theirs.send(msg.Draining())

    assert Received(msg.Draining(), ()) == ours.receive()
    assert Received(msg.Drain(1.0), ()) == theirs.receive()


def test_the_largest_message_passes(pair: tuple[Channel, Channel]) -> None:
    """64 KiB pass whole."""
    ours, theirs = pair
    ours.send(LARGEST)

    assert MAX_MESSAGE_BYTES == len(encode(LARGEST))
    assert Received(LARGEST, ()) == theirs.receive()


def test_a_non_blocking_end_without_a_message_says_none(pair: tuple[Channel, Channel]) -> None:
    """None means later; end of file is an exception."""
    ours, _ = pair
    ours.set_blocking(False)

    assert ours.receive() is None


def test_a_full_non_blocking_end_refuses_and_loses_nothing(pair: tuple[Channel, Channel]) -> None:
    """A peer that lets everything lie gives BlockingIOError; what was sent arrives all the same."""
    ours, theirs = pair
    ours.set_blocking(False)
    theirs.set_blocking(False)
    sent = fill(ours)
    received = []
    while (item := theirs.receive()) is not None:
        received.append(item.message)

    assert [msg.Fork(row, 0) for row in range(sent)] == received
    assert sent > 10


# --- descriptors ----------------------------------------------------------------------------------


def test_descriptors_travel_with_their_message(pair: tuple[Channel, Channel]) -> None:
    """What arrives is a descriptor of one's own for the same open file, in the same order."""
    ours, theirs = pair
    first, second = os.pipe(), os.pipe()
    ours.send(msg.Fork(1, 2), (first[1], second[1]))
    received = theirs.receive()

    assert received is not None
    assert msg.Fork(1, 2) == received.message

    for fd, text in zip(received.fds, (b"first", b"second"), strict=True):
        os.write(fd, text)

    assert b"first" == os.read(first[0], 10)
    assert b"second" == os.read(second[0], 10)

    for fd in (*received.fds, *first, *second):
        os.close(fd)


def test_received_descriptors_are_closed_on_exec(pair: tuple[Channel, Channel]) -> None:
    """A program that the app starts inherits none, even if it starts at that very moment."""
    ours, theirs = pair
    ours.send(msg.Fork(1, 2), (0,))
    received = theirs.receive()

    assert received is not None
    assert [fcntl.FD_CLOEXEC] == [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in received.fds]

    os.close(received.fds[0])


def test_as_many_descriptors_pass_as_promised(pair: tuple[Channel, Channel]) -> None:
    """MAX_FDS are received, all of them."""
    ours, theirs = pair
    ours.send(msg.Fork(1, 2), (0,) * MAX_FDS)
    received = theirs.receive()

    assert received is not None
    assert MAX_FDS == len(received.fds)

    for fd in received.fds:
        os.close(fd)


def test_too_many_descriptors_are_an_error_and_leak_nothing(
    pair: tuple[Channel, Channel],
) -> None:
    """The kernel drops what doesn't fit; what did is closed again."""
    ours, theirs = pair
    before = open_fds()
    ours.send(msg.Fork(1, 2), (0,) * (MAX_FDS + 4))

    with pytest.raises(RemoteProtocolError):
        theirs.receive()
    assert before == open_fds()


def test_descriptors_of_a_broken_message_are_closed(
    raw_pair: tuple[Channel, socket.socket],
) -> None:
    """Nobody would ever close them."""
    channel, peer = raw_pair
    before = open_fds()
    socket.send_fds(peer, [b"no message"], [0, 1])

    with pytest.raises(RemoteProtocolError):
        channel.receive()
    assert before == open_fds()


def test_both_ends_are_closed_on_exec(pair: tuple[Channel, Channel]) -> None:
    """A channel that leaks into another process never gives end of file."""
    assert [False, False] == [os.get_inheritable(end.fileno()) for end in pair]


# --- broken peers ---------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_an_error(raw_pair: tuple[Channel, socket.socket]) -> None:
    """A datagram above the limit is torn by the kernel: it is refused, not read as its beginning."""
    channel, peer = raw_pair
    peer.send(encode(LARGEST) + b" " * 10)  # its beginning alone would be a message

    with pytest.raises(RemoteProtocolError, match="larger than the protocol allows"):
        channel.receive()

    peer.send(encode(msg.Draining()))

    assert Received(msg.Draining(), ()) == channel.receive()


def test_bytes_that_are_no_message_are_an_error(raw_pair: tuple[Channel, socket.socket]) -> None:
    """The peer's error, and the next message is read as if nothing had been."""
    channel, peer = raw_pair
    peer.send(b"hello")
    peer.send(encode(msg.Draining()))

    with pytest.raises(RemoteProtocolError, match="hello"):
        channel.receive()
    assert Received(msg.Draining(), ()) == channel.receive()


# --- ends -----------------------------------------------------------------------------------------


def test_a_closed_end_is_end_of_file_at_the_other(pair: tuple[Channel, Channel]) -> None:
    """What was said before the end arrives first; the end is told as often as one asks."""
    ours, theirs = pair
    ours.send(msg.Draining())
    ours.close()

    assert Received(msg.Draining(), ()) == theirs.receive()
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            theirs.receive()


def test_an_end_with_unread_messages_is_end_of_file_too(pair: tuple[Channel, Channel]) -> None:
    """A peer that dies without having read what we said is closed, not an odd error."""
    ours, theirs = pair
    ours.send(msg.Drain(1.0))
    theirs.close()

    with pytest.raises(ChannelClosed):
        ours.receive()


def test_sending_to_a_closed_end_is_told(pair: tuple[Channel, Channel]) -> None:
    """One exception for every way in which the peer may be gone, with and without descriptors."""
    ours, theirs = pair
    theirs.close()

    with pytest.raises(ChannelClosed):
        ours.send(msg.Drain(1.0))
    with pytest.raises(ChannelClosed):
        ours.send(msg.Fork(1, 1), (0,))


def test_last_words_are_read_after_finish_sending(pair: tuple[Channel, Channel]) -> None:
    """The peer reads end of file and can still answer."""
    ours, theirs = pair
    ours.send(msg.Drain(1.0))
    ours.finish_sending()

    assert Received(msg.Drain(1.0), ()) == theirs.receive()
    with pytest.raises(ChannelClosed):
        theirs.receive()

    theirs.send(msg.Draining())

    assert Received(msg.Draining(), ()) == ours.receive()
    with pytest.raises(ChannelClosed):
        ours.send(msg.Drain(1.0))


def test_finish_sending_to_a_peer_that_is_gone_is_no_error(pair: tuple[Channel, Channel]) -> None:
    """There is nobody to tell."""
    ours, theirs = pair
    theirs.close()
    ours.finish_sending()
    ours.finish_sending()

    assert ours.is_closed_by_peer()


def test_looking_whether_the_peer_is_gone_takes_no_message(pair: tuple[Channel, Channel]) -> None:
    """is_closed_by_peer only looks, and never blocks, also on a blocking end."""
    ours, theirs = pair

    assert not ours.is_closed_by_peer()

    theirs.send(msg.Draining())

    assert not ours.is_closed_by_peer()

    theirs.close()

    assert not ours.is_closed_by_peer()  # its last words are still to be read
    assert Received(msg.Draining(), ()) == ours.receive()
    assert ours.is_closed_by_peer()


def test_a_peer_that_died_with_unread_messages_is_gone(pair: tuple[Channel, Channel]) -> None:
    """The kernel reports that as a reset."""
    ours, theirs = pair
    ours.send(msg.Drain(1.0))
    theirs.close()

    assert ours.is_closed_by_peer()


def test_end_of_file_makes_an_end_readable(pair: tuple[Channel, Channel]) -> None:
    """A loop that watches the channel is told."""
    ours, theirs = pair

    assert not is_readable(ours)

    theirs.close()

    assert is_readable(ours)


# --- ownership ------------------------------------------------------------------------------------


def test_a_channel_can_be_made_from_a_descriptor(pair: tuple[Channel, Channel]) -> None:
    """How a process takes the end that it inherited or was sent."""
    ours, theirs = pair
    taken = Channel.from_fd(theirs.detach())
    ours.send(msg.Draining())

    assert Received(msg.Draining(), ()) == taken.receive()

    taken.close()
    with pytest.raises(ChannelClosed):
        ours.receive()


def test_a_detached_end_stays_open(pair: tuple[Channel, Channel]) -> None:
    """Whoever took the descriptor closes it; close() of the channel no more."""
    ours, theirs = pair
    fd = theirs.detach()
    theirs.close()

    assert not ours.is_closed_by_peer()

    os.close(fd)

    assert ours.is_closed_by_peer()


def test_closing_twice_is_harmless(pair: tuple[Channel, Channel]) -> None:
    """A descriptor number that somebody else got meanwhile is not closed."""
    ours, _ = pair
    number = ours.fileno()
    ours.close()
    read_fd, write_fd = os.pipe()
    ours.close()

    assert number in (read_fd, write_fd)
    os.fstat(number)

    os.close(read_fd)
    os.close(write_fd)
