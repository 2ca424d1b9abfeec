"""Lingering close, on socket pairs."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tornado_multi.worker import lingering
from tornado_multi.worker.lingering import Lingering, peer_has_finished


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(10)
    return ours, theirs


async def _linger(ours: socket.socket) -> tuple[Lingering, asyncio.Event]:
    ended = asyncio.Event()
    made = Lingering(asyncio.get_running_loop())
    made.take(ours, ended.set)
    return made, ended


def test_the_client_reads_the_end_and_what_it_sends_is_discarded(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """We half-close at once, read until the client closes, then close."""

    async def scenario() -> int:
        made, ended = await _linger(pair[0])
        assert pair[1].recv(1) == b""
        pair[1].sendall(b"x" * 10_000)
        assert len(made) == 1
        pair[1].close()
        async with asyncio.timeout(10):
            await ended.wait()
        return len(made)

    assert asyncio.run(scenario()) == 0
    assert pair[0].fileno() == -1


@pytest.mark.parametrize("way", ["time", "bytes"])
def test_a_client_that_does_not_end_is_left(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """After LINGER_S, or MOST_BYTES, it is closed all the same."""
    monkeypatch.setattr(lingering, "LINGER_S", 0.01 if way == "time" else 60)
    monkeypatch.setattr(lingering, "MOST_BYTES", 100)

    async def scenario() -> None:
        _, ended = await _linger(pair[0])
        if way == "bytes":
            pair[1].sendall(b"x" * 200)
        async with asyncio.timeout(10):
            await ended.wait()

    asyncio.run(scenario())
    pair[1].close()


def test_all_can_be_ended_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """At the drain's deadline nothing lingers on."""

    async def scenario() -> bool:
        made, ended = await _linger(pair[0])
        made.end_all()
        return ended.is_set() and len(made) == 0

    assert asyncio.run(scenario())
    pair[1].close()


def test_a_client_that_has_closed_is_seen(pair: tuple[socket.socket, socket.socket]) -> None:
    """Unread bytes mean that it may still send; end of file that it won't."""
    assert not peer_has_finished(pair[0])
    pair[1].sendall(b"x")
    assert not peer_has_finished(pair[0])
    pair[0].recv(1)
    pair[1].close()
    assert peer_has_finished(pair[0])
    pair[0].close()
