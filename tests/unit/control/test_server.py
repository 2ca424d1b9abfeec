"""The supervisor's side of the control socket, with real clients of every kind.

Each misbehaving client is followed by a good one: the server must be there for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.control import server as server_module
from tornado_multi.control.locate import open_control_socket
from tornado_multi.control.protocol import MAX_REQUEST_BYTES, Request, encode_request
from tornado_multi.control.server import ControlServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = encode_request(Request("status"))
FLOOD_REPLIES = 40
"""Of 64 KiB each: more than the kernel and the server's own buffer hold."""
WITHIN_S = 20.0
"""A guard against hangs only."""


class Service:
    """A control server and what its handler was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Request] = []
        self.release = asyncio.Event()
        """Lets the command ``wait`` go on."""
        self.left = asyncio.Event()
        """The handler of ``wait`` or ``flood`` has ended, however."""
        self.server = ControlServer(open_control_socket(path), self.answer)

    async def answer(self, request: Request) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self.asked.append(request)
        try:
            match request.command:
                case "wait":
                    yield "waiting", {}
                    await self.release.wait()
                case "flood":
                    for _ in range(FLOOD_REPLIES):
                        yield "more", {"text": "x" * 65536}
                case "break":
                    raise RuntimeError("a mistake of ours")
            yield "done", {"asked": request.command}
        finally:
            self.left.set()

    async def connect(self) -> Client:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        client = Client(sock)
        try:
            await asyncio.get_running_loop().sock_connect(sock, os.fspath(self.path))
        except OSError:
            client.close()
            raise
        return client

    async def ask(self, line: bytes) -> list[dict[str, Any]]:
        """Send one line, return every reply up to the end."""
        with contextlib.closing(await self.connect()) as client:
            await client.send(line)
            return await client.replies()

    async def assert_alive(self) -> None:
        """A good client gets its answer."""
        assert [{"event": "done", "asked": "status"}] == await self.ask(GOOD)


class Client:
    """One connection. A bare socket: asyncio's streams drop what arrived before a reset."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""

    async def send(self, data: bytes) -> None:
        """Send; a server that has already refused may be gone."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def _receive(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        except ConnectionResetError:
            return b""

    async def reply(self) -> dict[str, Any]:
        """Return the next reply."""
        while b"\n" not in self._rest:
            data = await self._receive()
            assert data, "the server closed"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def replies(self) -> list[dict[str, Any]]:
        """Return every reply up to the end."""
        while data := await self._receive():
            self._rest += data
        return [json.loads(line) for line in self._rest.splitlines()]

    def close(self) -> None:
        self.sock.close()


Scenario = Callable[[Service], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario against a live server; nothing of the server may be left after it."""

    async def main(scenario: Scenario) -> None:
        problems: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context))
        service = Service(tmp_path / "c.sock")
        await service.server.start()
        try:
            async with asyncio.timeout(WITHIN_S):
                await scenario(service)
                await service.assert_alive()
        finally:
            await service.server.close(grace_s=0.0)

        gc.collect(1)  # a task's unheard exception is told when the task goes

        assert set() == asyncio.all_tasks() - {asyncio.current_task()}
        assert [] == problems

    return lambda scenario: asyncio.run(main(scenario))


# --- good clients ---------------------------------------------------------------------------------


def test_a_request_is_answered(run: Callable[[Scenario], None]) -> None:
    """The handler gets the request, the client what the handler yields, then end of file."""

    async def scenario(service: Service) -> None:
        replies = await service.ask(encode_request(Request("restart", {"fork_id": 3})))

        assert [{"event": "done", "asked": "restart"}] == replies
        assert [Request("restart", {"fork_id": 3})] == service.asked

    run(scenario)


def test_replies_arrive_while_the_command_lasts(run: Callable[[Scenario], None]) -> None:
    """Progress is not kept back until the end."""

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            await client.send(encode_request(Request("wait")))

            assert {"event": "waiting"} == await client.reply()

            await service.assert_alive()
            service.release.set()

            assert [{"event": "done", "asked": "wait"}] == await client.replies()

    run(scenario)


def test_a_half_closed_client_is_answered(run: Callable[[Scenario], None]) -> None:
    """A client that says it has no more to say (as ``nc -N`` does) still wants its answer."""

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            await client.send(GOOD)
            client.sock.shutdown(socket.SHUT_WR)

            assert [{"event": "done", "asked": "status"}] == await client.replies()

    run(scenario)


def test_a_request_may_come_in_pieces(run: Callable[[Scenario], None]) -> None:
    """A line is a line however it is sent."""

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            for at in range(len(GOOD)):
                await client.send(GOOD[at : at + 1])

            assert [{"event": "done", "asked": "status"}] == await client.replies()

    run(scenario)


def test_what_follows_the_request_is_ignored(run: Callable[[Scenario], None]) -> None:
    """One connection carries one request."""

    async def scenario(service: Service) -> None:
        replies = await service.ask(GOOD + encode_request(Request("stop")))

        assert [{"event": "done", "asked": "status"}] == replies
        assert [Request("status")] == service.asked

    run(scenario)


# --- bad clients ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"status\n", "The request is not a line of JSON."),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "The request is not a line of JSON."),
        (b"\x16\x03\x01\x02\x00\x01\n", "The request is not a line of JSON."),
        (b"\n", "The request is not a line of JSON."),
        (b"[]\n", "The request is not a JSON object."),
        (b'{"command": "status"}\n', "The request has version None; this supervisor speaks 1."),
        (b'{"v": 1}\n', "The request names no command."),
        (b"[" * 60_000 + b"\n", "The request is not a line of JSON."),
        (b"x" * (MAX_REQUEST_BYTES - 1) + b"\n", "The request is not a line of JSON."),
    ],
)
def test_a_malformed_request_is_told_why(
    run: Callable[[Scenario], None], line: bytes, said: str
) -> None:
    """One error and the end; the handler hears nothing of it."""

    async def scenario(service: Service) -> None:
        assert [{"event": "error", "text": said}] == await service.ask(line)
        assert [] == service.asked

    run(scenario)


@pytest.mark.parametrize("ended", [True, False], ids=["with an end", "without an end"])
def test_an_oversized_request_is_refused(run: Callable[[Scenario], None], ended: bool) -> None:  # noqa: FBT001
    """Memory has a bound: a line is refused as soon as it is longer than it may be."""

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            await client.send(b"x" * (4 * MAX_REQUEST_BYTES) + b"\n" * ended)
            reply = await client.reply()

            assert f"The request is longer than {MAX_REQUEST_BYTES} bytes." == reply["text"]
        assert [] == service.asked

    run(scenario)


@pytest.mark.parametrize("beginning", [b"", GOOD[:-1]], ids=["nothing", "half a line"])
def test_a_line_without_an_end_is_told_so(
    run: Callable[[Scenario], None], beginning: bytes
) -> None:
    """End of file in place of a line feed: the request may be cut, so it is not carried out."""

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            await client.send(beginning)
            client.sock.shutdown(socket.SHUT_WR)
            replies = await client.replies()

            assert [{"event": "error", "text": "The request line does not end."}] == replies
        assert [] == service.asked

    run(scenario)


@pytest.mark.parametrize("beginning", [b"", GOOD[:5]], ids=["nothing", "half a line"])
def test_a_slow_client_is_let_go(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """Who doesn't send a request in time gets an error and makes room."""
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.05)

    async def scenario(service: Service) -> None:
        with contextlib.closing(await service.connect()) as client:
            await client.send(beginning)

            assert [{"event": "error", "text": "No request within 0.05 s."}] == (
                await client.replies()
            )
        monkeypatch.undo()

    run(scenario)


def test_a_client_that_leaves_at_once_is_no_matter(run: Callable[[Scenario], None]) -> None:
    """Whether it said something before or not."""

    async def scenario(service: Service) -> None:
        for line in (b"", GOOD[:5], GOOD):
            client = await service.connect()
            await client.send(line)
            client.close()

    run(scenario)


def test_a_client_that_resets_is_no_matter(run: Callable[[Scenario], None]) -> None:
    """A killed client's socket ends in the middle of an answer."""

    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(encode_request(Request("flood")))
        await client.reply()
        client.close()
        await service.left.wait()

    run(scenario)


def test_a_client_that_does_not_read_is_cut(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped client (Ctrl-Z) must not hold answers in our memory for ever."""
    monkeypatch.setattr(server_module, "WRITE_TIMEOUT_S", 0.05)

    async def scenario(service: Service) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
            deaf.connect(os.fspath(service.path))
            deaf.sendall(encode_request(Request("flood")))
            await service.left.wait()

    run(scenario)


def test_too_many_clients_are_told_so(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one above the bound is refused, those within are served on; room is room again."""
    monkeypatch.setattr(server_module, "MAX_CLIENTS", 3)

    async def scenario(service: Service) -> None:
        with contextlib.ExitStack() as clients:
            inside = []
            for _ in range(3):
                client = clients.enter_context(contextlib.closing(await service.connect()))
                await client.send(encode_request(Request("wait")))
                await client.reply()
                inside.append(client)

            assert [{"event": "error", "text": "More than 3 clients at once; try again."}] == (
                await service.ask(GOOD)
            )

            service.release.set()
            for client in inside:
                assert [{"event": "done", "asked": "wait"}] == await client.replies()

    run(scenario)


def test_another_user_is_refused(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says who connects; only root and our own user may command."""
    uid = os.getuid() or 1000
    peer = struct.Struct("3i")

    class Fake:
        """A credentials structure in which everybody is somebody else."""

        size = peer.size

        @staticmethod
        def unpack(raw: bytes) -> tuple[int, int, int]:
            pid, _, gid = peer.unpack(raw)
            return pid, uid + 1, gid

    async def scenario(service: Service) -> None:
        with monkeypatch.context() as context:
            context.setattr(server_module, "PEER_CREDENTIALS", Fake)
            (reply,) = await service.ask(GOOD)

            assert f"you are uid {uid + 1}." in reply["text"]
        assert [] == service.asked

    run(scenario)


def test_a_mistake_in_our_own_handler_costs_one_answer(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees its connection end; everybody else is served on."""

    async def scenario(service: Service) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

        assert [] == await service.ask(encode_request(Request("break")))

    run(scenario)


def test_a_crowd_of_bad_clients_leaves_the_server_well(run: Callable[[Scenario], None]) -> None:
    """All at once, in any order."""

    async def misbehave(service: Service, number: int) -> None:
        lines = [b"", b"junk\n", GOOD[:7], b"x" * 200_000, encode_request(Request("flood"))]
        client = await service.connect()
        await client.send(lines[number % len(lines)])
        if number % 2:
            client.sock.shutdown(socket.SHUT_WR)
            await client.replies()
        client.close()

    async def scenario(service: Service) -> None:
        await asyncio.gather(*(misbehave(service, number) for number in range(50)))

    run(scenario)


# --- the end --------------------------------------------------------------------------------------


def test_a_client_that_waits_gets_its_last_reply_at_the_end(tmp_path: Path) -> None:
    """``stop`` is answered by the very supervisor that stops."""

    async def main() -> None:
        service = Service(tmp_path / "c.sock")
        await service.server.start()
        client = await service.connect()
        await client.send(encode_request(Request("wait")))
        await client.reply()
        service.release.set()
        await service.server.close()

        assert [{"event": "done", "asked": "wait"}] == await client.replies()
        with pytest.raises(OSError, match="refused"):
            await service.connect()

        client.close()

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))


def test_a_client_that_would_wait_for_ever_is_cut_at_the_end(tmp_path: Path) -> None:
    """The supervisor leaves; nobody holds it back."""

    async def main() -> None:
        service = Service(tmp_path / "c.sock")
        await service.server.start()
        client = await service.connect()
        await client.send(encode_request(Request("wait")))
        await client.reply()
        await service.server.close(grace_s=0.0)

        assert [] == await client.replies()
        assert service.left.is_set()

        client.close()

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the end of the process does that
@pytest.mark.parametrize("turns", range(4))
def test_a_client_that_comes_at_the_very_end_is_no_matter(tmp_path: Path, turns: int) -> None:
    """However far its connection has got when the loop ends, nothing is logged."""
    problems: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: problems.append(told))
        service = Service(tmp_path / "c.sock")
        await service.server.start()
        client = await service.connect()
        # No waiting: a timer that is due puts us behind the new connection in the loop's queue.
        await asyncio.sleep(1e-9)
        for _ in range(turns):
            await asyncio.sleep(0)
        await service.server.close(grace_s=0.0)
        client.close()

    asyncio.run(main())
    gc.collect()

    assert [] == problems


# --- the socket -----------------------------------------------------------------------------------


@pytest.fixture
def opened() -> Iterator[Callable[[Path], socket.socket]]:
    made: list[socket.socket] = []

    def open_one(path: Path) -> socket.socket:
        made.append(open_control_socket(path))
        return made[-1]

    yield open_one
    for sock in made:
        sock.close()


def test_the_socket_is_for_our_user_only(
    opened: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """Whatever the umask; which is left as it was."""
    before = os.umask(0)
    try:
        opened(tmp_path / "c.sock")

        assert 0 == os.umask(0)
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE((tmp_path / "c.sock").stat().st_mode)


def test_a_stale_socket_is_taken_over(
    opened: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """The lock beside the path has been taken: no other supervisor lives."""
    opened(tmp_path / "c.sock").close()
    opened(tmp_path / "c.sock")

    assert (tmp_path / "c.sock").is_socket()


def test_a_directory_that_is_missing_is_refused(tmp_path: Path) -> None:
    """With the system's word, and nothing left open."""
    before = os.listdir("/proc/self/fd")

    with pytest.raises(OSError, match="No such file"):
        open_control_socket(tmp_path / "missing/c.sock")
    assert before == os.listdir("/proc/self/fd")
