"""A worker on its loop, however its app was booted: heard, ready, beating, drained.

Runs in: worker, on its loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections import deque
from typing import TYPE_CHECKING

from setproctitle import setproctitle
from tornado import autoreload

from tornado_multi.logs.handler import reopen_all, set_report
from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb
from tornado_multi.process.adoption import end_with_supervisor
from tornado_multi.process.channel import Channel, ChannelClosed
from tornado_multi.process.linux import waited_for_cpu_s
from tornado_multi.process.messages import RemoteProtocolError
from tornado_multi.settings.model import health_paths
from tornado_multi.worker.accepting import Accepting
from tornado_multi.worker.beat import Beat
from tornado_multi.worker.connections import Connections, Routes
from tornado_multi.worker.drain import Drain
from tornado_multi.worker.health import Health
from tornado_multi.worker.lingering import Lingering
from tornado_multi.worker.resources import WorkerResources
from tornado_multi.worker.slow_steps import SlowSteps
from tornado_multi.worker.stacks import open_stacks_file
from tornado_multi.worker.watchdog import Watchdog
from tornado_multi.worker.wear import Wear

if TYPE_CHECKING:
    from tornado_multi.assignment import Assignment
    from tornado_multi.hooks import Hooks

EMPTY_QUEUE_S = 0.1
"""Longer than a handshake that had begun takes to end, on the networks that services are on."""
COMMAND_WAIT_S = 0.3
"""How long a worker that got TERM waits for what the supervisor, which may have got one too, says."""
LEAST_HOOK_S = 0.1
AUTORELOAD_HINT = " Use --reload-on-change."
AUTORELOAD_NOTICE = (
    "The app asks for Tornado's autoreload (debug=True or autoreload=True). It is switched off: in "
    "a worker it would re-execute the inherited command line."
)


class Worker:
    """One worker process on its loop."""

    def __init__(self, assignment: Assignment, loop: asyncio.AbstractEventLoop) -> None:
        self._assignment = assignment
        self._loop = loop
        self._channel = assignment.channel
        self._channel.set_blocking(False)
        self._to_close: list[Channel] = []
        """Ends of channels that go to the supervisor with what is unsent."""
        self._unsent: deque[tuple[msg.Message, tuple[int, ...]]] = deque()
        self._row = assignment.scoreboard.row(assignment.row)
        self.told_to_leave: asyncio.Future[None] = loop.create_future()
        self._drain_timeout_s = assignment.settings.workers.drain_timeout_s
        self._drain: Drain | None = None
        self._empty_queue = False
        self._commanded: asyncio.Future[None] = loop.create_future()
        self._hooks: Hooks = assignment.hooks
        self._hook_calls: set[asyncio.Task[None]] = set()
        self.accepting = Accepting(
            loop,
            assignment.scoreboard,
            self._row,
            assignment.settings.listen.max_connections,
            self.notice,
            shares_with=assignment.fork_id if assignment.settings.instances.is_asked else None,
        )
        routes = Routes(self._tell_route)
        self.connections = Connections(self._row, routes, Lingering(loop), loop.time)
        health = assignment.settings.health
        self.health = Health(*health_paths(assignment.settings), self.connections)
        self._slow_steps = SlowSteps(health.slow_step_s, self.send, self.notice, waited_for_cpu_s)
        self._slow_steps.watch(self._row, routes)
        self._resources = WorkerResources(loop, self.send, self._slow_steps.took)
        self._wear = Wear(
            health,
            self._row,
            self.connections,
            self.accepting,
            send=self.send,
            notice=self.notice,
            clock=loop.time,
        )
        self._beat = Beat(loop, self._row, self._at_beat)
        set_report(self._notice_from_any_thread)
        self._title("starting")

    def hear(self) -> None:
        """Listen to the supervisor and to SIGTERM from now on."""
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._loop.add_signal_handler(signal.SIGTERM, self._leave, None)

    def has_lost_its_loop(self) -> bool:
        """Tell whether the loop of this worker was closed, which only a script can do."""
        return self._loop.is_closed()

    def become_ready(self, hooks: Hooks) -> None:
        """Tell the supervisor that this worker accepts.

        The first worker of a reload says so when ``on_ready`` has ended: that it failed must be
        known before anything of the old generation is touched.
        Args: hooks: those that the rest of this worker's life calls.
        """
        # An app that changed its identity (setuid) has cleared what asks for our end.
        end_with_supervisor(self._assignment.supervisor_pid)
        self._hooks = hooks
        self._row.store(sb.STATE, sb.RowState.READY)
        health = self._assignment.settings.health
        self._beat.start(is_limited=health.max_memory_bytes is not None)
        self._title()
        stacks_fd, watchdog = open_stacks_file(), Watchdog(self._loop)
        if self._assignment.is_canary:
            on_ready = self._begin_hook("on_ready")
            on_ready.add_done_callback(lambda _: self._say_ready(stacks_fd, watchdog))
        else:
            self._say_ready(stacks_fd, watchdog)
            self._begin_hook("on_ready")

    def _say_ready(self, stacks_fd: int, watchdog: Watchdog) -> None:
        self._to_close.append(watchdog.theirs)
        self.send(msg.Ready(), stacks_fd, watchdog.theirs.fileno())

    # --- leaving ----------------------------------------------------------------------------------

    def _leave(self, timeout_s: float | None) -> None:
        """Begin to leave, or leave sooner. None: by SIGTERM, with the drain timeout as set."""
        if timeout_s is not None:
            self._drain_timeout_s = min(self._drain_timeout_s, timeout_s)
        if not self.told_to_leave.done():
            self.told_to_leave.set_result(None)
        elif self._drain is not None and timeout_s is not None:
            self._drain.hurry(timeout_s)

    async def drain_and_report(self) -> None:
        """Drain, and tell the supervisor how it went. The worker has been told to leave."""
        if not self._commanded.done():
            # By TERM. A service manager sends it to all processes at once: then the supervisor has
            # more to say. Until it has had time to, this worker serves as before.
            await asyncio.wait({self._commanded}, timeout=COMMAND_WAIT_S)
        if self._empty_queue:
            await self._take_what_is_queued()
        self.accepting.stop()
        self._row.store(sb.STATE, sb.RowState.DRAINING)
        self._title("draining")
        self.send(msg.Draining())
        begun_s = self._loop.time()
        self._hooks = self._hooks.within(
            max(LEAST_HOOK_S, self._drain_timeout_s), "the drain's time"
        )
        on_drain = self._begin_hook("on_drain")
        self._drain = Drain(
            self.connections,
            self._loop.time,
            self._drain_timeout_s,
            self._assignment.settings.workers,
        )
        report = await self._drain.run()
        try:
            report = await self._finish(report, on_drain, begun_s)
        finally:  # a script may cancel all tasks that it finds
            self.send(report)

    async def _finish(
        self, report: msg.Drained, on_drain: asyncio.Task[None], begun_s: float
    ) -> msg.Drained:
        """Wait for on_drain and close resources. Returns the report, with the time that took."""
        drained_s = self._loop.time()
        await self._wait_for_hook(on_drain, begun_s + self._drain_timeout_s - drained_s)
        waited_s = self._loop.time()
        await self.close_resources(begun_s + self._drain_timeout_s - waited_s)
        closed_s = self._loop.time()
        # Without a hook it was a busy loop that took the time, which is nobody's to mend here.
        hook_s = waited_s - drained_s if "on_drain" in self._hooks.names() else 0.0
        return dataclasses.replace(report, hook_s=hook_s, closing_s=closed_s - waited_s)

    async def close_resources(self, left_s: float = 0.0) -> None:
        """Close what this process has created. The drain has *left_s* of its time left."""
        await self._resources.close(left_s)

    async def _take_what_is_queued(self) -> None:
        """Accept until the kernel has nothing left: no further connection can begin, and what is
        not taken is reset.
        """
        self.connections.begin_drain()
        inherited = {sock for item, sock in self._assignment.listeners if item.is_inherited}
        self.accepting.take_all(except_for=inherited)
        deadline_s = self._loop.time() + self._drain_timeout_s
        while self._loop.time() < deadline_s:
            await asyncio.sleep(EMPTY_QUEUE_S)
            if not self.accepting.has_queued():
                return

    # --- hooks ------------------------------------------------------------------------------------

    def _begin_hook(self, name: str) -> asyncio.Task[None]:
        call = self._loop.create_task(self._call_hook(name), name=f"tornado_multi {name}")
        self._hook_calls.add(call)
        call.add_done_callback(self._hook_calls.discard)
        return call

    async def _call_hook(self, name: str) -> None:
        failure = await self._hooks.call_on_loop(name)
        if failure is not None:
            self.send(failure)

    async def _wait_for_hook(self, call: asyncio.Task[None], left_s: float) -> None:
        """Give on_drain what is left of the drain's time, and a moment to say itself that it hung."""
        await asyncio.wait({call}, timeout=max(LEAST_HOOK_S, left_s) + LEAST_HOOK_S)
        if not call.done():
            call.cancel()
            self.send(
                msg.HookFailed("on_drain", "on_drain did not return within the drain's time.")
            )

    # --- the channel ------------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            while received := self._channel.receive():
                match received.message:
                    case msg.Drain(timeout_s, empty_queue):
                        self._empty_queue = self._empty_queue or empty_queue
                        if not self._commanded.done():
                            self._commanded.set_result(None)
                        self._leave(timeout_s)
                    case msg.Readiness(wants_requests):
                        self.health.wants_requests = wants_requests
                    case msg.ReopenLogs():
                        reopen_all()
                    case other:
                        text = f"[BUG] a worker was sent {type(other).__name__}"
                        raise RemoteProtocolError(text)
        except (ChannelClosed, RemoteProtocolError):
            # The supervisor is gone. A fresh one needs our port: leave at once, without a drain.
            os._exit(0)

    def send(self, message: msg.Message, *fds: int) -> None:
        """Send to the supervisor; what it has no room for just now is sent at a later beat."""
        self._unsent.append((message, fds))
        self._send_waiting()

    def _send_waiting(self) -> None:
        try:
            while self._unsent:
                self._channel.send(*self._unsent[0])
                self._unsent.popleft()
            while self._to_close:  # the supervisor's by now: our copy would hide its end
                self._to_close.pop().close()
        except (BlockingIOError, ChannelClosed):
            return  # a closed channel is heard by _hear

    def notice(self, key: str, text: str) -> None:
        """Tell the user something once, however many workers say it."""
        self.send(msg.Notice(key, text))

    def _notice_from_any_thread(self, key: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self.notice, key, text)

    def explain_autoreload(self) -> None:
        """Say, once, that Tornado's autoreload was asked for and is switched off."""
        if getattr(autoreload.start, "asked", False):
            watched = self._assignment.settings.environment.reload_on_change
            self.notice("autoreload", AUTORELOAD_NOTICE + ("" if watched else AUTORELOAD_HINT))

    def _tell_route(self, number: int, name: str) -> None:
        self.send(msg.RouteNamed(number, name))

    # --- the beat ---------------------------------------------------------------------------------

    def _at_beat(self) -> None:
        if self._unsent:
            self._send_waiting()
        http = self._assignment.settings.http
        self._resources.at_beat()
        self._slow_steps.at_beat()
        self._wear.at_beat()
        self.connections.sweep(http.idle_timeout_s, http.header_timeout_s)

    def _title(self, state: str = "") -> None:
        assignment = self._assignment
        title = f"tornado_multi: worker {assignment.fork_id} gen {assignment.generation} {state}"
        setproctitle(title.rstrip())
