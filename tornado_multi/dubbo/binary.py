"""One connection in the binary protocol: many calls in flight, each answer known by its number.

Runs in: the process that opened it, on its loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tornado_multi.dubbo.errors import (
    BadReplyError,
    CallTimeoutError,
    DubboError,
    NotSentError,
    OutcomeUnknownError,
)
from tornado_multi.dubbo.frames import (
    HESSIAN2,
    NULL,
    Frame,
    FrameReader,
    encode_frame,
    heartbeat,
    heartbeat_answer,
)
from tornado_multi.dubbo.sockets import fileno, let_the_loop_read, sever

if TYPE_CHECKING:
    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.options import Options

MISSED_HEARTBEATS = 3
"""So many times ``heartbeat_s`` without a byte, and the other side is gone (as Dubbo has it)."""


class BinaryConnection(asyncio.Protocol):
    """Sends calls, sorts answers, answers heartbeats and sends its own."""

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(options.most_reply_bytes)
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, asyncio.Future[Frame]] = {}
        self._number = 0
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._turn = asyncio.Lock()
        """Of those that wait to write: one at a time, or all would write what can't be taken in."""
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = self._loop.time()
        self._probe: asyncio.TimerHandle | None = None
        """Runs while a heartbeat has to be answered, because a call was not."""
        self._why_closed: str | None = None
        self.is_retired = False
        """No further call goes out on it: the provider wants none, or is silent."""
        self._why_retired = ""
        self.late_answers = 0
        """Answers to calls that had been given up."""

    @property
    def active(self) -> int:
        """How many calls are in flight."""
        return len(self._pending)

    def is_open(self) -> bool:
        """Tell whether it has not ended; calls may be in flight although none may go out any more."""
        return self._why_closed is None

    def is_usable(self) -> bool:
        """Tell whether a call may go out on it, as far as we have heard."""
        if self._why_closed is not None or self.is_retired or self._transport is None:
            return False
        return not self._transport.is_closing()

    async def is_alive(self) -> bool:
        """Tell whether a call may go out on it, after a look whether the provider has closed it."""
        if self._transport is None or not self.is_usable():
            return False
        if not self._pending:
            await let_the_loop_read(self._transport)
        return self.is_usable()

    async def call(self, body: bytes, timeout_s: float, name: str) -> Frame:
        """Send a request and wait for its answer.

        Args: name: of the service and method, for error texts.
        Raises: NotSentError; CallTimeoutError; OutcomeUnknownError: the connection broke.
            BadReplyError: what came is no frame.
        """
        return await self._ask(Frame(0, body, is_request=True, is_two_way=True), timeout_s, name)

    async def ping(self, timeout_s: float) -> None:
        """Send a heartbeat and wait for its answer. Raises: as ``call`` does."""
        beat = Frame(0, NULL, is_request=True, is_two_way=True, is_event=True)
        await self._ask(beat, timeout_s, "ping")

    async def _ask(self, frame: Frame, timeout_s: float, name: str) -> Frame:
        deadline_s = self._loop.time() + timeout_s
        if not self._may_write.is_set() or self._turn.locked():
            await self._wait_to_write(timeout_s, name)
        if not self.is_usable() or self._transport is None:
            text = f"{name}: the connection to {self.address} is closed: {self._why_closed}"
            raise NotSentError(text)
        self._number = number = self._number + 1
        answer: asyncio.Future[Frame] = self._loop.create_future()
        self._pending[number] = answer
        timer = self._loop.call_at(deadline_s, self._time_out, number, name, timeout_s)
        try:
            self._transport.write(encode_frame(frame, number))
            return await answer
        finally:
            timer.cancel()
            self._pending.pop(number, None)
            if self.is_retired and not self._pending:
                self.close(self._why_retired)

    async def _wait_to_write(self, timeout_s: float, name: str) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                await self._may_write.wait()
        except TimeoutError:
            text = f"{name}: {self.address} takes in nothing for {timeout_s:g} s."
            raise NotSentError(text) from None

    def _time_out(self, number: int, name: str, timeout_s: float) -> None:
        answer = self._pending.get(number)
        if answer is not None and not answer.done():
            text = f"{name}: no answer from {self.address} within {timeout_s:g} s."
            answer.set_exception(CallTimeoutError(text))
            if self._heard_s < self._loop.time() - timeout_s:
                self._ask_for_life()

    def _ask_for_life(self) -> None:
        """Send a heartbeat: is it the method that is slow, or has the network lost the connection?

        A firewall that forgets one tells nobody, and its heartbeats come a minute apart.
        """
        if self._probe is None and self._transport is not None and self.is_usable():
            self._number += 1
            self._transport.write(heartbeat(self._number))
            wait_s, now_s = self._options.connect_timeout_s, self._loop.time()
            self._probe = self._loop.call_later(wait_s, self._retire_if_silent, now_s)

    def _retire_if_silent(self, asked_s: float) -> None:
        self._probe = None
        if self._heard_s < asked_s:
            self._retire("neither a call nor a heartbeat was answered")

    def _retire(self, reason: str) -> None:
        """Let the calls in flight end, and none follow."""
        self.is_retired = True
        self._why_retired = reason
        if not self._pending:
            self.close(reason)

    def close(self, reason: str) -> None:
        """Close at once; calls in flight fail with OutcomeUnknownError."""
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
        for timer in (self._timer, self._probe):
            if timer is not None:
                timer.cancel()
        self._timer = self._probe = None
        if self._transport is not None:
            self._transport.abort()
        self._may_write.set()
        for answer in self._pending.values():
            if not answer.done():
                text = f"The connection to {self.address} ended with the call in flight: {reason}"
                answer.set_exception(kind(text))

    # --- what the loop calls ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen for silence."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._options.heartbeat_s, self._look_for_silence)

    def data_received(self, data: bytes) -> None:
        """Sort what arrived."""
        self._heard_s = self._loop.time()
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except BadReplyError as error:
            self._end(BadReplyError, str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is in flight."""
        self._end(OutcomeUnknownError, str(exc) if exc else "the provider closed it")

    def pause_writing(self) -> None:
        """Hold calls back: the provider is slow to read."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Let calls go."""
        self._may_write.set()

    def _take(self, frame: Frame) -> None:
        if not frame.is_request:
            if frame.serialization != HESSIAN2:
                text = (
                    f"An answer is serialized in the way {frame.serialization}; calls ask for "
                    f"Hessian ({HESSIAN2})."
                )
                raise BadReplyError(text)
            answer = self._pending.get(frame.id)
            if answer is not None and not answer.done():
                answer.set_result(frame)
            elif not frame.is_event:
                self.late_answers += 1
        elif frame.is_read_only_event():
            self._retire("the provider asked for no further call")
        elif frame.is_event and frame.is_two_way:
            self._answer_heartbeat(frame)

    def _answer_heartbeat(self, asked: Frame) -> None:
        """Unless answers are not read: one that asks on and on would fill memory with them."""
        if self._transport is not None and self._may_write.is_set():
            self._transport.write(heartbeat_answer(asked))

    def _look_for_silence(self) -> None:
        """Send a heartbeat after a silence, and give up after a long one."""
        wait_s = self._options.heartbeat_s
        silent_s = self._loop.time() - self._heard_s
        if silent_s >= MISSED_HEARTBEATS * wait_s:
            self.close(f"nothing came from the provider for {silent_s:.0f} s")
            return
        if silent_s >= wait_s and self._transport is not None:
            self._number += 1
            self._transport.write(heartbeat(self._number))
        next_s = wait_s if silent_s >= wait_s else wait_s - silent_s
        self._timer = self._loop.call_later(max(next_s, 0.01), self._look_for_silence)
