"""Errors of connections that were cut off say which line has made them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tornado_multi.forksafety import explanations
from tornado_multi.forksafety.audit import DeadEnd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dead_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket whose peer is gone, as the quarantine leaves it."""
    monkeypatch.setattr(explanations, "_cut", {})
    ours, theirs = socket.socketpair()
    theirs.close()
    seen = os.fstat(ours.fileno())
    identity = (seen.st_dev, seen.st_ino)
    explanations._cut[ours.fileno()] = (identity, DeadEnd(identity, "connection x", "shop/a.py:3"))
    explanations.make_cut_off(ours)
    with ours:
        yield ours


@pytest.mark.parametrize("call", ["send", "sendall", "sendmsg"])
def test_an_error_of_sending_names_the_line_at_once(dead_end: socket.socket, call: str) -> None:
    """It does so before anybody logs it, so that the client may close the socket."""
    data = [b"x"] if call == "sendmsg" else b"x"
    with pytest.raises(BrokenPipeError) as caught:
        getattr(dead_end, call)(data)

    assert ["shop/a.py:3" in note for note in caught.value.__notes__] == [True]


def test_it_stays_a_socket_of_python(dead_end: socket.socket) -> None:
    """Whoever asks what it is gets the answer of before."""
    assert isinstance(dead_end, socket.socket)
    assert b"" == dead_end.recv(1)


def test_a_socket_of_another_class_is_left_alone() -> None:
    """A class of a library or of TLS has its own ways, and maybe another layout."""

    class Special(socket.socket):
        """As a library makes one."""

    with Special() as special:
        explanations.make_cut_off(special)

        assert type(special) is Special


def test_another_descriptor_of_the_same_number_is_not_explained(dead_end: socket.socket) -> None:
    """When the dead end is closed and its number used again, errors are the other's own."""
    number = dead_end.detach()
    ours, theirs = socket.socketpair()
    theirs.close()
    os.dup2(ours.fileno(), number)
    ours.close()
    with socket.socket(fileno=number) as other:
        explanations.make_cut_off(other)
        with pytest.raises(BrokenPipeError) as caught:
            other.send(b"x")

    assert not getattr(caught.value, "__notes__", [])
