"""One connection that speaks text: one command in flight, and closed at the first doubt.

Runs in: the process that opened it, on its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from tornado_multi.dubbo.errors import (
    BadReplyError,
    CallTimeoutError,
    DubboError,
    NotAllowedError,
    NotSentError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
)
from tornado_multi.dubbo.sockets import fileno, let_the_loop_read, sever
from tornado_multi.dubbo.telnet.commands import HANDSHAKE
from tornado_multi.dubbo.telnet.greeting import FOREIGN, HOW_TO_BE_LET_IN, Greeting
from tornado_multi.dubbo.telnet.replies import ReplyReader

if TYPE_CHECKING:
    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.options import Options

QUIET_S = 0.03
"""So long nothing comes after a reply that may go on, and it is taken to be whole."""


class TextConnection(asyncio.Protocol):
    """Sends one line at a time and waits for its reply."""

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self._loop = asyncio.get_running_loop()
        self._most_reply_bytes = options.most_reply_bytes
        self._greeting: Greeting | None = Greeting(
            None if options.prompt is None else options.prompt.encode(options.charset),
            has_banner=options.protocol == "qos",
        )
        self._reader = ReplyReader()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._why_closed: str | None = None
        self.used_s = self._loop.time()
        """When it had its last reply."""

    def is_usable(self) -> bool:
        """Tell whether a command may go out on it, as far as we have heard."""
        if self._transport is None or self._why_closed is not None or self._transport.is_closing():
            return False
        return self._waiter is None and not self._reader.wants_no_more_calls and self._is_clean()

    def _is_clean(self) -> bool:
        return self._greeting is None and self._reader.is_clean()

    async def is_alive(self) -> bool:
        """Tell whether a command may go out on it, after a look at what has come meanwhile."""
        if self._transport is None or not self.is_usable():
            return False
        await let_the_loop_read(self._transport)
        return self.is_usable()

    async def greet(self, timeout_s: float) -> None:
        """Learn the prompt.

        Raises: UnreachableError: nothing comes. RefusedError: this is no Dubbo port, or it lets us
            not in.
        """
        deadline_s = self._loop.time() + timeout_s
        greeting = self._greeting
        assert greeting is not None
        try:
            while (prompt := greeting.prompt) is None:
                if greeting.wants_line and self._transport is not None:
                    greeting.line_sent()
                    self._transport.write(HANDSHAKE)
                await self._hear(deadline_s, greeting.quiet_s)
        except BadReplyError as error:
            self.close(str(error))
            raise RefusedError(f"{self.address} can't be called: {error}") from error
        except OutcomeUnknownError as error:
            what = greeting.explain()
            self.close(what)
            raise UnreachableError(f"{self.address} gives no prompt: {what} {error}") from error
        self._reader = ReplyReader(prompt, self._most_reply_bytes)
        self._greeting = None

    async def _hear(self, deadline_s: float, quiet_s: float | None) -> None:
        """Wait until something arrives, or nothing does for so long."""
        greeting = self._greeting
        assert greeting is not None
        limit_s = deadline_s if quiet_s is None else min(deadline_s, self._loop.time() + quiet_s)
        try:
            await self._wait(limit_s, "")
        except CallTimeoutError:
            if limit_s >= deadline_s:
                raise
            greeting.was_quiet()

    async def command(self, line: bytes, timeout_s: float, name: str) -> bytes:
        """Send a line and wait for its reply, which is returned without the prompt.

        Args: name: of what is called, for error texts.
        Raises: NotSentError; CallTimeoutError; OutcomeUnknownError: the connection broke.
            BadReplyError: it is too large. After each of them the connection is closed.
        """
        if self._transport is None or not self.is_usable():
            text = f"{name}: the connection to {self.address} is closed: {self._why_closed}"
            raise NotSentError(text)
        self._transport.write(line)
        try:
            reply = await self._wait(self._loop.time() + timeout_s, name)
        except BaseException as error:  # a cancelled call's reply must not meet the next one
            self.close(f"a call on it ended without a reply ({type(error).__name__})")
            raise
        assert reply is not None
        self.used_s = self._loop.time()
        return reply

    async def rest_of_reply(self, reply: bytes) -> bytes:
        """Wait until nothing comes any more, close, and return the reply with what has come."""
        parts = [reply]
        try:
            with contextlib.suppress(OutcomeUnknownError):
                while True:
                    more = await self._wait(self._loop.time() + QUIET_S, "")
                    parts += [self._reader.prompt, more or b""]
        finally:  # also of a call that is cancelled while it waits
            self.close("a reply may have gone on after its end")
        return b"".join(parts)

    async def _wait(self, deadline_s: float, name: str) -> bytes | None:
        waiter: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_at(deadline_s, self._time_out, name)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _time_out(self, name: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            text = f"{name}: no whole reply from {self.address} in time."
            self._waiter.set_exception(CallTimeoutError(text))

    def close(self, reason: str) -> None:
        """Close at once; a command in flight fails with OutcomeUnknownError."""
        self._end(OutcomeUnknownError, reason)

    def fileno(self) -> int:
        """Return its descriptor; -1: it has none any more."""
        return fileno(self._transport)

    def sever(self) -> None:
        """Give up the copy that a fork has made of it."""
        if self._transport is not None:
            sever(self._transport)

    def _end(self, kind: type[DubboError], reason: str) -> None:
        if self._why_closed is None:
            self._why_closed = reason
        if self._transport is not None:
            self._transport.abort()
        if self._waiter is not None and not self._waiter.done():
            text = f"The connection to {self.address} ended before the reply did: {reason}"
            self._waiter.set_exception(kind(text))

    # --- what the loop calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass a whole reply on; bytes that nobody waits for make the connection worthless."""
        try:
            if self._greeting is not None:
                self._greeting.feed(data)
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)
                return
            reply = self._reader.feed(data)
        except BadReplyError as error:
            self._end(BadReplyError, str(error))
            return
        is_awaited = self._waiter is not None and not self._waiter.done()
        if reply is not None and is_awaited:
            cast("asyncio.Future[bytes | None]", self._waiter).set_result(reply)
        elif reply is not None or not (is_awaited or self._reader.is_clean()):
            self.close("bytes came that nobody had asked for")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the command in flight."""
        if FOREIGN in self._reader.leftover:  # QoS says so when it has read the first byte
            self._end(NotAllowedError, HOW_TO_BE_LET_IN)
        else:
            self._end(OutcomeUnknownError, str(exc) if exc else "the provider closed it.")
