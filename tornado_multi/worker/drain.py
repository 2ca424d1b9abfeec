"""The drain: finish what is in hand, then leave. Runs in: worker, on its loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado.websocket import WebSocketHandler

from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.connections import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.worker.connections import ConnectionRecord, Connections

GOING_AWAY = 1001
"""Websocket close code: RFC 6455, section 7.4.1."""
LOOK_AGAIN_S = 0.02


@dataclass(slots=True)
class DrainReport:
    """What became of the connections that were open when the drain began."""

    duration_s: float
    finished: int
    closed_idle: int
    cut: int
    cut_handlers: tuple[str, ...]


class Drain:
    """One drain. Its deadline can be moved nearer while it runs."""

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], float],
        timeout_s: float,
        idle_s: float,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._begun_s = clock()
        self._deadline_s = self._begun_s + timeout_s
        self._idle_s = idle_s
        self._closed_idle = 0
        self._hurried = asyncio.Event()

    def hurry(self, timeout_s: float) -> None:
        """Leave within *timeout_s* from now, if that is sooner."""
        self._deadline_s = min(self._deadline_s, self._clock() + timeout_s)
        self._hurried.set()

    async def run(self) -> DrainReport:
        """Drain, and report. Ends when no connection is left or the deadline passes."""
        records = self._connections.records
        self._connections.begin_drain()
        told: set[object] = set()
        while records and self._clock() < self._deadline_s:
            now_s = self._clock()
            for record in list(records.values()):
                if record.state is ConnectionState.UPGRADED and record.stream not in told:
                    told.add(record.stream)
                    self._close_websocket(record)
                elif record.state is ConnectionState.IDLE:
                    self._close_if_idle(record, now_s)
            await self._pause()
        cut = list(records.values())
        handlers = sorted({_name(record) for record in cut})
        for record in cut:
            record.stream.close()
        return DrainReport(
            duration_s=self._clock() - self._begun_s,
            finished=self._connections.finished_while_draining,
            closed_idle=self._closed_idle,
            cut=len(cut),
            cut_handlers=tuple(handlers),
        )

    def _close_if_idle(self, record: ConnectionRecord, now_s: float) -> None:
        if private.has_unread_input(record.stream):
            return  # a request has begun to arrive
        idle_since_s = max(record.since_s, self._begun_s)
        if now_s - idle_since_s >= self._idle_s:
            self._closed_idle += 1
            record.stream.close()

    @staticmethod
    def _close_websocket(record: ConnectionRecord) -> None:
        handler = private.handler_of(record.delegate)
        if isinstance(handler, WebSocketHandler):
            handler.close(GOING_AWAY, "the server is going away")
        # Another protocol has no word for it that we know: it has until the deadline.

    async def _pause(self) -> None:
        # Looks again at a pace, not at each event: a drain is short, and each request's end would
        # otherwise wake it.
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._hurried.wait()
        except TimeoutError:
            return
        self._hurried.clear()


def _name(record: ConnectionRecord) -> str:
    if record.state is ConnectionState.UPGRADED:
        handler = private.handler_of(record.delegate)
        return f"websocket {type(handler).__qualname__}"
    return record.handler_name or "(idle)"
