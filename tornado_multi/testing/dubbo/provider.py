"""The provider: a listener on 127.0.0.1 with a thread and a loop of its own.

Runs in: the process that makes it (a test, a demo).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tornado_multi.dubbo.frames import MAGIC, READ_ONLY, Frame, encode_frame, heartbeat
from tornado_multi.testing.dubbo.binary_side import BinarySide
from tornado_multi.testing.dubbo.dialects import BANNER, Dialect
from tornado_multi.testing.dubbo.services import AccountService
from tornado_multi.testing.dubbo.text_side import TextSide

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

T = TypeVar("T")
ANSWER_WITHIN_S = 10.0
PIECES_APART_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What a provider does that a client must bear. The default is none."""

    delay_s: tuple[float, float] = (0.0, 0.0)
    """Before each reply: anything between the two."""
    split: str = "none"
    """``random``: replies in up to five pieces; ``bytes``: each byte alone."""
    split_at: int | None = None
    """Each reply in two pieces, the first of this length."""
    heartbeats: int = 0
    """Binary heartbeats ahead of each reply, and as many after it."""
    cut_after_bytes: int | None = None
    """The connection is closed when so many bytes of a reply are sent."""
    is_silent: bool = False
    """No command gets a reply, as when all threads are in use."""
    closes_at_once: bool = False
    """Each new connection is closed, as when there are too many."""
    junk: bytes = b""
    """Sent right after each reply."""


class DubboProvider:
    """Serves objects over the Dubbo protocol, text and binary, as a context.

    Args:
        services: name of the interface -> object; its public methods are called, and may be async.
            None: ``com.example.AccountService`` alone.
        dialect: how text looks; one of ``DIALECTS``.
        faults: what goes wrong; may be set anew at any time, and holds for the next replies.
        port: 0: any free one, the same after ``start`` following ``stop``.
    """

    def __init__(
        self,
        services: Mapping[str, Any] | None = None,
        *,
        dialect: Dialect | None = None,
        faults: Faults | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.services = {"com.example.AccountService": AccountService()}
        if services is not None:
            self.services = dict(services)
        self.dialect = dialect or Dialect()
        self.faults = faults or Faults()
        self.host, self.port = host, port
        self.accepted = 0
        """Connections so far."""
        self.requests = 0
        """Calls and commands so far."""
        self.commands: list[str] = []
        """Text commands so far."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Raises: OSError: the port is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=256)
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="Dubbo provider", daemon=True
        )
        self._thread.start()

        async def serve() -> asyncio.Server:
            loop = asyncio.get_running_loop()
            return await loop.create_server(lambda: _Connection(self), sock=listener)

        self._server = self._run(serve)

    def stop(self) -> None:
        """Close the listener and all connections at once, as a provider that is killed does."""
        loop, thread, server = self._loop, self._thread, self._server
        if loop is None or thread is None or server is None:
            return

        async def close() -> None:
            server.close()
            for connection in list(self._connections):
                connection.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._run(close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = self._thread = self._server = None

    def send_to_all(self, data: bytes) -> None:
        """Send bytes that nobody has asked for to each connection."""

        async def send() -> None:
            for connection in self._connections:
                connection.write(data)

        self._run(send)

    def ask_for_no_more_calls(self) -> None:
        """Send the read-only event, with which a provider says that it will stop."""
        event = Frame(0, READ_ONLY, is_request=True, is_event=True)
        self.send_to_all(encode_frame(event))

    def close_all(self) -> None:
        """Close all connections in order and listen on."""

        async def close() -> None:
            for connection in list(self._connections):
                connection.close()

        self._run(close)

    def _run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self._loop is not None, "the provider is not started"
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(ANSWER_WITHIN_S)


class _Connection(asyncio.Protocol):
    """One client: text or binary, by its first bytes."""

    def __init__(self, provider: DubboProvider) -> None:
        self._provider = provider
        self._transport: asyncio.Transport | None = None
        self._text = TextSide(provider.dialect, provider.services)
        self._binary = BinarySide(provider.services)
        self._is_binary: bool | None = None
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._provider.accepted += 1
        if self._provider.faults.closes_at_once:
            transport.close()
            return
        self._provider._connections.add(self)  # noqa: SLF001 - its other half
        if self._provider.dialect.is_qos:
            self._spawn(self._show_banner())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the same for all ends
        self._provider._connections.discard(self)  # noqa: SLF001 - its other half
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_binary is None:
            self._is_binary = data.startswith(MAGIC[:1])
        if self._is_binary:
            for frame in self._binary.feed(data):
                self._provider.requests += not frame.is_event
                self._spawn(self._answer(self._binary.answer(frame), is_event=frame.is_event))
            return
        for command in self._text.feed(data):
            self._provider.commands.append(command)
            self._provider.requests += bool(command)
            self._spawn(self._answer(self._text.answer(command)))

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_banner(self) -> None:
        dialect = self._provider.dialect
        await asyncio.sleep(dialect.banner_after_s)
        self.write((BANNER + dialect.prompt).encode())

    async def _answer(self, answer: Coroutine[Any, Any, bytes], *, is_event: bool = False) -> None:
        faults = self._provider.faults
        if faults.is_silent and not is_event:
            answer.close()
            return
        data = await answer
        if is_event or not data:
            async with self._sending:  # a heartbeat comes between two answers, never into one
                self.write(data)
            return
        if faults.delay_s[1]:
            await asyncio.sleep(random.uniform(*faults.delay_s))  # noqa: S311 - nobody guesses it
        async with self._sending:
            await self._send(data, faults)

    async def _send(self, data: bytes, faults: Faults) -> None:
        beats = b"".join(heartbeat(number) for number in range(faults.heartbeats))
        whole = beats + data
        if faults.cut_after_bytes is not None:
            self.write(whole[: faults.cut_after_bytes])
            self.close()
            return
        first, *others = _pieces(whole, faults)
        self.write(first)
        for piece in others:
            await asyncio.sleep(PIECES_APART_S)
            self.write(piece)
        if beats or faults.junk:
            await asyncio.sleep(0)
            self.write(beats + faults.junk)


def _pieces(data: bytes, faults: Faults) -> list[bytes]:
    if faults.split_at is not None:
        cuts = [faults.split_at]
    elif faults.split == "bytes":
        cuts = list(range(1, len(data)))
    elif faults.split == "random":
        cuts = sorted(random.randrange(len(data)) for _ in range(random.randrange(5)))  # noqa: S311
    else:
        return [data]
    edges = [0, *cuts, len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]
