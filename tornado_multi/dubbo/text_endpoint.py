"""One provider as text, and the pool of connections to it.

Runs in: one process, on one loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from tornado_multi.dubbo.errors import (
    BadArgumentError,
    BadReplyError,
    BusyError,
    NotSentError,
    OutcomeUnknownError,
)
from tornado_multi.dubbo.invocation import Answer
from tornado_multi.dubbo.names import NO_VERSION
from tornado_multi.dubbo.sockets import CLOSED, Connector
from tornado_multi.dubbo.telnet.commands import HANDSHAKE, QOS_BYTES, encode_invoke
from tornado_multi.dubbo.telnet.replies import (
    decode_reply,
    leaves_connection_in_doubt,
    parse_invoke,
)
from tornado_multi.dubbo.text import TextConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.invocation import Call
    from tornado_multi.dubbo.options import Options

T = TypeVar("T")


class TextEndpoint:
    """A pool of connections with one command in flight each."""

    def __init__(self, address: Address, options: Options) -> None:
        self._address = address
        self._options = options
        self._permits = asyncio.Semaphore(options.connections)
        self._idle: list[TextConnection] = []
        self._busy: set[TextConnection] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._connector = Connector(address)

    async def call(self, call: Call, timeout_s: float, connect_timeout_s: float) -> Answer:
        """Call a method on a connection of its own."""
        name = f"{call.service}.{call.method}"
        line = encode_text_call(call, name, self._most_line_bytes)

        def parse(text: str) -> Answer:
            return Answer(parse_invoke(text, name), {})

        return await self.command(line, name, parse, timeout_s, connect_timeout_s)

    async def ping(self, timeout_s: float, connect_timeout_s: float) -> None:
        """Have a blank line answered. Raises: DubboError: it is not."""
        await self.command(HANDSHAKE, "ping", _parse_blank, timeout_s, connect_timeout_s)

    @property
    def _most_line_bytes(self) -> int:
        most = self._options.most_call_bytes
        return min(QOS_BYTES, most) if self._options.protocol == "qos" else most

    async def command(
        self,
        line: bytes,
        name: str,
        parse: Callable[[str], T],
        timeout_s: float,
        connect_timeout_s: float,
    ) -> T:
        """Send a line, once a connection is free, and return what its reply means.

        Args: parse: takes the reply as text. It raises BadReplyError if it is no reply to this line:
            it may be that to another one, and the next that comes the reply to this.
        Raises: DubboError, by what may be done next.
        """
        await self._wait_for_permit(name, connect_timeout_s)
        try:
            connection = await self._connection(connect_timeout_s)
            try:
                reply = await connection.command(line, timeout_s, name)
                text = decode_reply(reply, self._options.charset)
                if leaves_connection_in_doubt(text):
                    whole = await connection.rest_of_reply(reply)
                    text = decode_reply(whole, self._options.charset)
                return parse(text)
            except (NotSentError, OutcomeUnknownError) as error:
                connection.close(str(error))
                raise
            finally:
                self._busy.discard(connection)
                self._give_back(connection)
        finally:
            self._permits.release()

    async def _wait_for_permit(self, name: str, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._permits.acquire()
        except TimeoutError:
            text = (
                f"{name}: all {self._options.connections} connections to {self._address} were busy "
                f"for {timeout_s:g} s (connections)."
            )
            raise BusyError(text) from None

    async def _connection(self, timeout_s: float) -> TextConnection:
        while self._idle:
            connection = self._idle.pop()  # the one used last: the others may grow old and go
            self._busy.add(connection)
            is_alive = False
            try:
                is_alive = await connection.is_alive()
            finally:
                if not is_alive:
                    self._busy.discard(connection)
                    connection.close("it was found ended, or with bytes that nobody had asked for")
            if is_alive:
                return connection
        return await self._open(timeout_s)

    async def _open(self, timeout_s: float) -> TextConnection:
        """Connect and learn the prompt."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        connection = await self._connector.connect(
            lambda: TextConnection(self._address, self._options), timeout_s
        )
        self._busy.add(connection)
        try:
            self._connector.refuse_if_closed()
            await connection.greet(max(deadline_s - loop.time(), 0.001))
        except BaseException:
            self._busy.discard(connection)
            connection.close("it was given up before its prompt was known")
            raise
        return connection

    def _give_back(self, connection: TextConnection) -> None:
        if self._connector.is_closed or not connection.is_usable():
            connection.close(CLOSED)
            return
        self._idle.append(connection)
        if self._reaper is None:
            loop = asyncio.get_running_loop()
            self._reaper = loop.call_later(self._options.idle_s, self._reap)

    def _reap(self) -> None:
        """Close what has not been used for long, before the provider does."""
        self._reaper = None
        loop = asyncio.get_running_loop()
        oldest_s = loop.time() - self._options.idle_s
        kept = [item for item in self._idle if item.is_usable() and item.used_s > oldest_s]
        for connection in set(self._idle) - set(kept):
            connection.close("it was idle")
        self._idle = kept
        if kept:
            self._reaper = loop.call_at(kept[0].used_s + self._options.idle_s, self._reap)

    def close(self) -> None:
        """Close all connections; who waits for one is told."""
        self._connector.close()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for connection in (*self._idle, *self._busy):
            connection.close(CLOSED)

    def sever(self) -> None:
        """Give up the copies."""
        for connection in (*self._idle, *self._busy):
            connection.sever()


def _parse_blank(text: str) -> None:
    """Look at the reply to a blank line. Raises: BadReplyError: it is another line's."""
    if text.strip():
        raise BadReplyError(f"ping: the reply to a blank line is not blank: {text!r:.300}.")


def encode_text_call(call: Call, name: str, most_bytes: int) -> bytes:
    """Return the line of a call. Raises: BadArgumentError: text can't carry all of it."""
    if call.types is not None or call.attachments:
        text = (
            f"{name}: the text protocol carries neither types nor attachments; use the binary one."
        )
        raise BadArgumentError(text)
    service = call.service
    if call.group is not None:
        service = f"{call.group}/{service}"
    if call.version != NO_VERSION:
        service = f"{service}:{call.version}"
    return encode_invoke(service, call.method, call.args, most_bytes)
