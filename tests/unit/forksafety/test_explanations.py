"""Errors of connections that were cut off say which line has made them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tornado_multi.forksafety import explanations
from tornado_multi.forksafety.heritage import DeadEnd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dead_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket whose peer is gone, as the quarantine leaves it."""
    monkeypatch.setattr(explanations, "_cut", {})
    monkeypatch.setattr(explanations, "_unsaid", {})
    monkeypatch.setattr(logging, "setLogRecordFactory", lambda _: None)
    ours, theirs = socket.socketpair()
    theirs.close()
    seen = os.fstat(ours.fileno())
    identity = (seen.st_dev, seen.st_ino)
    end = DeadEnd(identity, "connection x", "shop/a.py:3")
    explanations.explain_from_now_on({ours.fileno(): (identity, end)})
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


@pytest.mark.parametrize("call", ["send", "recv", "recv_into"])
def test_the_first_use_is_a_warning(
    dead_end: socket.socket, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each connection, whatever the app makes of the error: it may log its text alone."""
    for _ in range(2):
        with contextlib.suppress(BrokenPipeError):
            getattr(dead_end, call)({"send": b"x", "recv": 1, "recv_into": bytearray(1)}[call])

    assert [explanations.__name__] == [record.name for record in caplog.records]
    assert "connection x was made at shop/a.py:3" in caplog.text
    assert "@tornado_multi.per_process" in caplog.text


def test_a_text_that_is_logged_while_the_error_is_handled_is_explained(
    dead_end: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that is not Python's socket is found in the frames of the error."""
    dead_end.__class__ = socket.socket
    record = logging.makeLogRecord({"msg": "no luck"})
    for _ in range(2):
        try:
            dead_end.send(b"x")
        except BrokenPipeError:
            explanations._explain_record(record)

    assert [explanations.__name__] == [item.name for item in caplog.records]


def test_a_record_with_the_error_needs_no_warning(
    dead_end: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback ends with the sentence."""
    dead_end.__class__ = socket.socket
    with pytest.raises(BrokenPipeError) as caught:
        dead_end.send(b"x")
    error = caught.value
    explanations._explain_record(
        logging.makeLogRecord({"exc_info": (type(error), error, error.__traceback__)})
    )

    assert [True] == ["shop/a.py:3" in note for note in error.__notes__]
    assert [] == caplog.records
    assert {} == explanations._unsaid


def test_other_errors_are_not_explained(
    dead_end: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that has nothing to do with the connection says nothing of it."""
    assert dead_end is not None
    try:
        int("x")
    except ValueError:
        explanations._explain_record(logging.makeLogRecord({}))

    assert [] == caplog.records


@pytest.mark.usefixtures("dead_end")
def test_nobody_is_asked_for_what_it_makes_up() -> None:
    """A client whose every attribute is a call to another machine is not called by a log record."""
    called = []

    class Remote:
        def __getattr__(self, name: str) -> object:
            return lambda: called.append(name)

    def fails(remote: Remote) -> None:
        raise ValueError(type(remote).__name__)

    with pytest.raises(ValueError, match="Remote") as caught:
        fails(Remote())

    assert None is explanations.explain(caught.value)
    assert [] == called


def test_the_sentence_says_what_where_and_what_to_do() -> None:
    """Also if the line is not known."""
    known, unknown = (
        explanations.sentence(DeadEnd((1, 2), "connected socket a -> b", place))
        for place in ("shop/a.py:3", "")
    )

    assert known.startswith("tornado_multi: The connected socket a -> b was made at shop/a.py:3 ")
    assert unknown.startswith("tornado_multi: The connected socket a -> b was made before the fork")
    assert [True, True] == [". Mend: create it on first use" in item for item in (known, unknown)]
