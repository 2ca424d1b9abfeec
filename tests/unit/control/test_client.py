"""The commands' side of the control socket, against servers of one connection each."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.control import locate
from tornado_multi.control.client import Connection, ControlError, connect
from tornado_multi.control.protocol import MAX_REPLY_BYTES, Request, encode_reply
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.model import ControlSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """What is closed after the test."""
    things: list[Any] = []
    yield things
    for thing in things:
        thing.close()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only default place is ours."""
    monkeypatch.setattr(locate, "candidate_directories", lambda: [tmp_path])
    return tmp_path


def listen(path: Path, made: list[Any]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.append(sock)
    sock.bind(os.fspath(path))
    sock.listen(4)
    return sock


def pair(made: list[Any], path: Path) -> tuple[Connection, socket.socket]:
    """A connection and the supervisor's end of it."""
    ours, theirs = socket.socketpair()
    made += [ours, theirs]
    return Connection(ours, path, os.getpid()), theirs


# --- asking ---------------------------------------------------------------------------------------


def test_replies_come_one_by_one(made: list[Any], tmp_path: Path) -> None:
    """However the bytes are cut on their way."""
    connection, supervisor = pair(made, tmp_path)
    supervisor.sendall(b'{"event": "stopping"}\n{"event": "do')
    replies = connection.ask(Request("stop"))

    assert {"event": "stopping"} == next(replies)

    supervisor.sendall(b'ne", "exit_code": 0}\n')
    supervisor.shutdown(socket.SHUT_WR)

    assert [{"event": "done", "exit_code": 0}] == list(replies)
    assert {"v": 1, "command": "stop"} == json.loads(supervisor.recv(1000))


def test_a_refusal_before_the_request_is_read(made: list[Any], tmp_path: Path) -> None:
    """A supervisor that says why and closes is heard, though our request meets a closed socket."""
    connection, supervisor = pair(made, tmp_path)
    supervisor.sendall(encode_reply("error", {"text": "More than 64 clients at once."}))
    supervisor.close()

    assert [{"event": "error", "text": "More than 64 clients at once."}] == list(
        connection.ask(Request("status"))
    )


def test_a_supervisor_that_leaves_in_the_middle(made: list[Any], tmp_path: Path) -> None:
    """What was said counts; the caller sees that the last reply is missing."""
    connection, supervisor = pair(made, tmp_path)
    supervisor.sendall(b'{"event": "stopping"}\n{"event": "half')
    supervisor.close()

    assert [{"event": "stopping"}] == list(connection.ask(Request("stop")))


def test_no_answer_in_time(made: list[Any], tmp_path: Path) -> None:
    """A supervisor that is stopped (SIGSTOP) doesn't hold the command for ever."""
    connection, _ = pair(made, tmp_path)

    with pytest.raises(ControlError, match=r"did not answer within 0\.01 s") as caught:
        list(connection.ask(Request("status"), timeout_s=0.01))
    assert ExitCode.NO_SUPERVISOR == caught.value.exit_code


@pytest.mark.parametrize("answer", [b"hello\n", b"[]\n", b'{"no": "event"}\n'])
def test_an_answer_that_is_none(made: list[Any], tmp_path: Path, answer: bytes) -> None:
    """Something else listens there, or we have a bug: not an answer to act on."""
    connection, supervisor = pair(made, tmp_path)
    supervisor.sendall(answer)

    with pytest.raises(ControlError, match="The supervisor's answer") as caught:
        list(connection.ask(Request("status")))
    assert ExitCode.BUG == caught.value.exit_code


def test_an_answer_without_an_end(
    made: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has a bound here too."""
    assert MAX_REPLY_BYTES >= 1024 * 1024

    monkeypatch.setattr("tornado_multi.control.client.MAX_REPLY_BYTES", 1000)
    connection, supervisor = pair(made, tmp_path)
    supervisor.sendall(b"x" * 2000)

    with pytest.raises(ControlError, match="does not end"):
        list(connection.ask(Request("status")))


# --- finding --------------------------------------------------------------------------------------


def test_the_only_live_one_is_meant(made: list[Any], places: Path) -> None:
    """Stale files beside it don't count; the pid is the kernel's word."""
    listen(places / "dead.sock", made).close()
    listen(places / "shop.sock", made)
    connection = connect(ControlSettings())
    made.append(connection)

    assert (places / "shop.sock", os.getpid()) == (connection.path, connection.pid)


def test_several_live_ones_are_listed(made: list[Any], places: Path) -> None:
    """A command never guesses."""
    listen(places / "a.sock", made)
    listen(places / "b.sock", made)

    with pytest.raises(ControlError) as caught:
        connect(ControlSettings())
    assert ExitCode.USAGE == caught.value.exit_code
    assert str(caught.value) == (
        f"Several supervisors answer: a (pid {os.getpid()}), b (pid {os.getpid()}). "
        "Choose one with --name or --control."
    )


def test_a_name_chooses(made: list[Any], places: Path) -> None:
    """Among several, the one that is named."""
    listen(places / "a.sock", made)
    listen(places / "b.sock", made)
    connection = connect(ControlSettings(name="b"))
    made.append(connection)

    assert places / "b.sock" == connection.path


def test_a_path_chooses(made: list[Any], places: Path, tmp_path: Path) -> None:
    """--control is taken as it is, whatever else lives."""
    listen(places / "a.sock", made)
    listen(tmp_path / "elsewhere", made)
    connection = connect(ControlSettings(control=f"{tmp_path}/elsewhere", name="a"))
    made.append(connection)

    assert tmp_path / "elsewhere" == connection.path


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ControlSettings(), "No supervisor in the default places answers."),
        (ControlSettings(name="shop"), "No supervisor named shop answers."),
        (ControlSettings(control="/no/such.sock"), "No supervisor at /no/such.sock answers."),
    ],
)
@pytest.mark.usefixtures("places")
def test_nobody_answers(settings: ControlSettings, said: str) -> None:
    """Which one was looked for, and what to do."""
    with pytest.raises(ControlError, match=said) as caught:
        connect(settings)
    assert ExitCode.NO_SUPERVISOR == caught.value.exit_code


def test_credentials_have_the_kernels_size() -> None:
    """SO_PEERCRED gives three ints: pid, uid, gid."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        raw = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))

    assert (os.getpid(), os.getuid(), os.getgid()) == struct.unpack("3i", raw)
