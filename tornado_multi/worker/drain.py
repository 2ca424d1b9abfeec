"""The drain: finish what is in hand, then leave. Runs in: worker, on its loop.

What each kind of connection gets:
  idle        stays for idle_s, so that a request on its way is answered; then it is closed
  request     is finished; its response says ``Connection: close``; one whose headers don't end in a
              moment is cut
  websocket   close code 1001 (or its handler's own ``on_drain``), spread over a short time
  stream      is told by ``draining()`` and ``on_drain``; an event stream that doesn't listen is
              finished properly, with its last chunk, after streams_s
At the deadline the rest is cut, and named.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketHandler

from tornado_multi.process.draining import say_drain_began
from tornado_multi.process.messages import Drained
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.connections import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.iostream import BaseIOStream

    from tornado_multi.settings.model import WorkerSettings
    from tornado_multi.worker.connections import ConnectionRecord, Connections

LOOK_AGAIN_S = 0.02
WEBSOCKET_SPREAD_S = 0.2
"""Over this time websockets are told, so that their clients don't all come back at once ..."""
WEBSOCKET_EACH_S = 0.005
"""... and longer when there are many: this much for each, up to half the drain timeout."""
HEADERS_S = 2.0
"""A request whose headers have begun to arrive has this long for the rest of them."""
INCOMPLETE = "headers that never ended"
SUSPENDED_S = 1.0
MOST_NAMES = 50
"""A report names so many cut routes; a message has a size limit."""
REASON = "the server is going away"

log = logging.getLogger(__name__)


class Drain:
    """One drain. Its deadline can be moved nearer while it runs."""

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], float],
        timeout_s: float,
        settings: WorkerSettings,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._begun_s = clock()
        self._timeout_s = timeout_s
        self._deadline_s = self._begun_s + timeout_s
        self._settings = settings
        self._hurried = asyncio.Event()
        self._websockets_due_s: dict[BaseIOStream, float] = {}
        self._ended_streams: set[BaseIOStream] = set()
        self._hooks: set[asyncio.Future[Any]] = set()
        self._closed_idle = 0
        self._incomplete = 0
        self._incomplete_since_s: dict[BaseIOStream, float] = {}
        self._told_websockets: set[BaseIOStream] = set()

    def hurry(self, timeout_s: float) -> None:
        """Leave within *timeout_s* from now, if that is sooner."""
        self._deadline_s = min(self._deadline_s, self._clock() + timeout_s)
        self._hurried.set()

    async def run(self) -> Drained:
        """Drain, and report. Ends when no connection is left or the deadline passes."""
        records = self._connections.records
        self._connections.begin_drain()
        say_drain_began()
        self._spread_websockets()
        for record in list(records.values()):
            if record.handler_name is not None:
                self._call_hook(private.handler_of(record.delegate))
        while self._connections.are_open() and self._clock() < self._deadline_s:
            for record in list(records.values()):
                self._look_at(record)
            await self._pause()
        return self._cut_the_rest()

    def _look_at(self, record: ConnectionRecord) -> None:
        now_s = self._clock()
        match record.state:
            case ConnectionState.IDLE:
                self._close_if_idle(record, now_s)
            case ConnectionState.UPGRADED:
                self._close_websocket(record, now_s)
            case ConnectionState.STREAMING:
                if now_s - self._begun_s >= self._settings.drain_streams_s:
                    self._end_stream(record)
            case _:
                return  # it finishes by itself

    def _close_if_idle(self, record: ConnectionRecord, now_s: float) -> None:
        if private.has_unread_input(record.stream):
            # A request has begun to arrive. One whose headers never end must not hold up the drain.
            begun_s = self._incomplete_since_s.setdefault(record.stream, now_s)
            if now_s - begun_s >= max(HEADERS_S, self._settings.drain_idle_s):
                self._incomplete += 1
                record.stream.close()
            return
        self._incomplete_since_s.pop(record.stream, None)
        idle_since_s = max(record.since_s, self._begun_s)
        late = now_s - idle_since_s >= self._settings.drain_idle_s
        if late and record.is_surely_silent():
            self._closed_idle += 1
            record.stream.close()

    # --- websockets -------------------------------------------------------------------------------

    def _spread_websockets(self) -> None:
        open_now = [
            record.stream
            for record in self._connections.records.values()
            if record.state is ConnectionState.UPGRADED
        ]
        spread_s = max(WEBSOCKET_SPREAD_S, WEBSOCKET_EACH_S * len(open_now))
        spread_s = min(spread_s, self._timeout_s / 2)
        for stream in open_now:
            self._websockets_due_s[stream] = self._begun_s + random.uniform(0, spread_s)  # noqa: S311

    def _close_websocket(self, record: ConnectionRecord, now_s: float) -> None:
        # One that was opened by a request in progress when the drain began is due at once.
        due_s = self._websockets_due_s.setdefault(record.stream, now_s)
        if now_s < due_s:
            return
        self._websockets_due_s[record.stream] = float("inf")
        handler = private.handler_of(record.delegate)
        if not isinstance(handler, WebSocketHandler):
            return  # another protocol, for which we know no word: it has until the deadline
        self._told_websockets.add(record.stream)
        if not self._call_hook(handler):
            handler.close(self._settings.drain_websocket_code, REASON)

    # --- streams ----------------------------------------------------------------------------------

    def _end_stream(self, record: ConnectionRecord) -> None:
        """Finish an event stream whose handler doesn't listen, so that its client sees an end.

        Only those: another response without a length may be a download that is not done yet, and
        a proper end would make a part of it look whole.
        """
        handler = private.handler_of(record.delegate)
        if record.stream in self._ended_streams or not private.is_event_stream(handler):
            return
        self._ended_streams.add(record.stream)
        try:
            handler.finish()
        except Exception:
            log.exception("An event stream could not be finished at the drain.")

    def _call_hook(self, handler: object) -> bool:
        """Call the handler's ``on_drain``, if it has one. Returns whether it has."""
        hook = getattr(handler, "on_drain", None)
        if hook is None:
            return False
        try:
            result = hook()
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(result)
                self._hooks.add(task)
                task.add_done_callback(self._hook_ended)
        except (Exception, SystemExit):
            log.exception("on_drain of %s failed.", type(handler).__qualname__)
        return True

    def _hook_ended(self, task: asyncio.Future[Any]) -> None:
        self._hooks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("An on_drain failed.", exc_info=error)

    # --- the end ----------------------------------------------------------------------------------

    def _cut_the_rest(self) -> Drained:
        finished = self._connections.finished_while_draining
        left = list(self._connections.records.values())
        cut = [record for record in left if not _is_idle(record)]
        names = sorted(
            {_name(record) for record in cut} | ({INCOMPLETE} if self._incomplete else set())
        )
        self._closed_idle += len(left) - len(cut)
        open_streams = {record.stream for record in left}
        closed_websockets = len(self._told_websockets - open_streams)
        for record in left:
            record.stream.close()
        self._connections.lingering.end_all()
        return Drained(
            duration_s=self._clock() - self._begun_s,
            finished=finished,
            closed_idle=self._closed_idle,
            closed_websockets=closed_websockets,
            ended_streams=len(self._ended_streams),
            cut=len(cut) + self._incomplete,
            cut_handlers=tuple(names[:MOST_NAMES]),
        )

    async def _pause(self) -> None:
        begun_s = self._clock()
        await self._look_again()
        late_s = self._clock() - begun_s - LOOK_AGAIN_S
        if late_s > SUSPENDED_S:  # stopped meanwhile, or blocked: nobody could finish anything
            self._deadline_s += late_s

    async def _look_again(self) -> None:
        # Looks again at a pace, not at each event: a drain is short, and each request's end would
        # otherwise wake it.
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._hurried.wait()
        except TimeoutError:
            return
        self._hurried.clear()


def _is_idle(record: ConnectionRecord) -> bool:
    """Tell whether nobody loses anything by this connection's end."""
    return record.state is ConnectionState.IDLE and not private.has_unread_input(record.stream)


def _name(record: ConnectionRecord) -> str:
    if record.state is ConnectionState.UPGRADED:
        handler = private.handler_of(record.delegate)
        return f"websocket {type(handler).__module__}.{type(handler).__qualname__}"
    return record.handler_name or INCOMPLETE
