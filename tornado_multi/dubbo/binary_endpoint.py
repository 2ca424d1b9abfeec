"""One provider in the binary protocol, and the connections to it.

Runs in: one process, on one loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from tornado_multi.dubbo.binary import BinaryConnection
from tornado_multi.dubbo.errors import (
    BadArgumentError,
    BadReplyError,
    NotSentError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
)
from tornado_multi.dubbo.invocation import Answer, decode_answer, encode_call
from tornado_multi.dubbo.sockets import CLOSED, Connector

if TYPE_CHECKING:
    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.invocation import Call
    from tornado_multi.dubbo.options import Options

T = TypeVar("T")


class BinaryEndpoint:
    """A few connections that all calls share."""

    def __init__(self, address: Address, options: Options) -> None:
        self._address = address
        self._options = options
        self._connections: list[BinaryConnection] = []
        self._fresh: set[BinaryConnection] = set()
        """Those that have not answered yet."""
        self._opening: asyncio.Future[BinaryConnection] | None = None
        self._connector = Connector(address)

    async def call(self, call: Call, timeout_s: float, connect_timeout_s: float) -> Answer:
        """Call a method, at the same time as others."""
        name = f"{call.service}.{call.method}"
        body = encode_call(call, timeout_s)
        if len(body) > self._options.most_call_bytes:
            text = (
                f"{name}: the call takes {len(body)} bytes; {self._options.most_call_bytes} are "
                "allowed (most_call_bytes; a provider's own limit is its payload)."
            )
            raise BadArgumentError(text)
        connection = self._idlest()
        if connection is None or not await connection.is_alive():
            connection = await self._open(connect_timeout_s)
        frame = await connection.call(body, timeout_s, name)
        if frame.skipped_bytes:
            text = (
                f"{name}: the answer has {frame.skipped_bytes} bytes; the limit is "
                f"{self._options.most_reply_bytes} (most_reply_bytes)."
            )
            raise BadReplyError(text)
        return decode_answer(frame.status, frame.body, name)

    async def ping(self, timeout_s: float, connect_timeout_s: float) -> None:
        """Have a heartbeat answered. Raises: DubboError: it is not."""
        connection = self._idlest()
        if connection is None or not await connection.is_alive():
            connection = await self._open(connect_timeout_s)
        await connection.ping(timeout_s)

    def _idlest(self) -> BinaryConnection | None:
        """Return the connection for the next call; None: another one is to be opened."""
        self._connections = [item for item in self._connections if item.is_open()]
        usable = [item for item in self._connections if item.is_usable()]
        if len(usable) < self._options.connections:
            return None
        return min(usable, key=lambda item: item.active)

    async def _open(self, timeout_s: float) -> BinaryConnection:
        """Open a connection: all who want one at this moment share the attempt and its outcome."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open_one())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(opening)
        except TimeoutError:
            text = f"{self._address} can't be reached: no connection within {timeout_s:g} s."
            raise UnreachableError(text) from None
        except (UnreachableError, RefusedError) as error:
            raise type(error)(str(error)) from error  # each has its own traceback

    async def _open_one(self) -> BinaryConnection:
        """Connect, and have a heartbeat answered: a provider that ends accepts and closes at once,
        and calls should not be what finds out.
        """
        loop, limit_s = asyncio.get_running_loop(), self._options.connect_timeout_s
        deadline_s = loop.time() + limit_s
        connection = await self._connector.connect(
            lambda: BinaryConnection(self._address, self._options), limit_s
        )
        self._fresh.add(connection)
        try:
            await connection.ping(max(deadline_s - loop.time(), 0.001))
        except BadReplyError as error:
            raise RefusedError(f"{self._address} can't be called: {error}") from error
        except (NotSentError, OutcomeUnknownError) as error:
            connection.close("it did not answer the first heartbeat")
            text = f"{self._address} accepts connections and does not answer on them: {error}"
            raise UnreachableError(text) from error
        except asyncio.CancelledError:
            connection.close("it was given up before its first answer")
            raise
        finally:
            self._fresh.discard(connection)
        if self._connector.is_closed:
            connection.close(CLOSED)
            self._connector.refuse_if_closed()
        self._connections.append(connection)
        return connection

    def _opened(self, opening: asyncio.Future[BinaryConnection]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # who waited has it; if nobody does any more, it is no news

    def close(self) -> None:
        """Close all connections."""
        self._connector.close()
        for connection in (*self._connections, *self._fresh):
            connection.close(CLOSED)

    def sever(self) -> None:
        """Give up the copies."""
        for connection in (*self._connections, *self._fresh):
            connection.sever()
