"""Lingering close, on socket pairs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from support.certificates import Authority

from tornado_multi.worker import lingering
from tornado_multi.worker.lingering import (
    Lingering,
    has_waiting_bytes,
    peer_has_finished,
    say_end,
)

if TYPE_CHECKING:
    from pathlib import Path


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


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def secured(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Return both ends of a TLS connection, the first without blocking, and nothing left unread."""
    authority = Authority(tmp_path)
    files = authority.sign("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    context.num_tickets = 0
    pair[0].settimeout(10)
    ours = context.wrap_socket(pair[0], server_side=True, do_handshake_on_connect=False)
    handshake = threading.Thread(target=ours.do_handshake)
    handshake.start()
    theirs = authority.client_context().wrap_socket(pair[1], server_hostname="localhost")
    handshake.join()
    ours.setblocking(False)
    theirs.suppress_ragged_eofs = False
    return ours, theirs


def test_bytes_that_wait_undecrypted_are_seen(
    secured: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    """In the kernel, or decrypted and not taken: the client is not silent."""
    ours, theirs = secured
    silent = has_waiting_bytes(ours)
    theirs.sendall(b"xyz")
    in_the_kernel = has_waiting_bytes(ours)
    ours.recv(1)
    in_openssl = has_waiting_bytes(ours)
    ours.recv(2)

    assert [False, True, True, False] == [
        silent, in_the_kernel, in_openssl, has_waiting_bytes(ours),
    ]  # fmt: skip
    assert not peer_has_finished(ours)
    theirs.close()
    assert peer_has_finished(ours)
    ours.close()
    assert not has_waiting_bytes(None)


def test_the_end_is_said(secured: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    """The client reads a proper end; whatever it sends still comes to the lingering, and no error."""
    ours, theirs = secured
    theirs.sendall(b"unread")
    say_end(ours)

    assert theirs.recv(10) == b""
    theirs.close()
    ours.close()


def test_without_a_word_the_client_knows_of_a_cut(
    secured: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    """The plain close of a TLS connection is an error to its client."""
    ours, theirs = secured
    ours.close()
    with pytest.raises(ssl.SSLEOFError):
        theirs.recv(10)
    theirs.close()


def test_before_the_handshake_nothing_can_be_said(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """And on a plain socket there is no word for it: both are no error."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    say_end(pair[0])
    begun = context.wrap_socket(pair[0], server_side=True, do_handshake_on_connect=False)
    say_end(begun)
    begun.close()
    pair[1].close()


def test_a_tls_connection_lingers(secured: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    """Both loops read what still comes beneath TLS, up to the client's end."""

    async def scenario() -> None:
        made, ended = await _linger(secured[0])
        secured[1].sendall(b"x" * 10_000)
        assert len(made) == 1
        secured[1].close()
        async with asyncio.timeout(10):
            await ended.wait()

    asyncio.run(scenario())
    assert secured[0].fileno() == -1
