"""The life of a worker: after the fork, boot the app, serve, drain, end. Runs in: worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from collections import deque
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle
from tornado import autoreload

from tornado_multi.loading import LoadError, load_target
from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb
from tornado_multi.process.channel import ChannelClosed
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.linux import die_with_parent_thread
from tornado_multi.process.messages import RemoteProtocolError
from tornado_multi.process.tracebacks import app_traceback, first_line
from tornado_multi.worker.accepting import Accepting
from tornado_multi.worker.after_fork import enter
from tornado_multi.worker.app import AppError, build
from tornado_multi.worker.beat import Beat
from tornado_multi.worker.connections import Connections, Routes
from tornado_multi.worker.drain import Drain
from tornado_multi.worker.end import cancel_tasks, leave
from tornado_multi.worker.lingering import Lingering
from tornado_multi.worker.probe import ProbeError, probe
from tornado_multi.worker.server import DrainingHTTPServer
from tornado_multi.worker.stacks import open_stacks_file, render_tasks

if TYPE_CHECKING:
    from tornado_multi.process.assignment import Assignment

EMPTY_QUEUE_S = 0.1
"""Longer than a handshake that had begun takes to end, on the networks that services are on."""
COMMAND_WAIT_S = 0.3
"""How long a worker that got TERM waits for what the supervisor, which may have got one too, says."""
AUTORELOAD_HINT = " Use --reload-on-change."
AUTORELOAD_NOTICE = (
    "The app asks for Tornado's autoreload (debug=True or autoreload=True). It is switched off: in "
    "a worker it would re-execute the inherited command line."
)


def run_worker(assignment: Assignment) -> NoReturn:
    """Be a worker until the end of this process."""
    exit_code = int(ExitCode.BUG)
    worker: Worker | None = None
    try:
        enter(assignment)
        loop = _new_loop(assignment.settings.workers.loop)
        asyncio.set_event_loop(loop)
        worker = Worker(assignment, loop)
        exit_code = loop.run_until_complete(worker.main())
    except SystemExit as error:  # the app's own, from a handler or a callback
        exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    finally:
        if worker is not None:
            worker.say_that_it_ends()
        leave(exit_code)


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class Worker:
    """One worker process on its loop."""

    def __init__(self, assignment: Assignment, loop: asyncio.AbstractEventLoop) -> None:
        self._assignment = assignment
        self._loop = loop
        self._channel = assignment.channel
        self._channel.set_blocking(False)
        self._unsent: deque[tuple[msg.Message, tuple[int, ...]]] = deque()
        self._row = assignment.scoreboard.row(assignment.row)
        self._told_to_leave: asyncio.Future[None] = loop.create_future()
        self._drain_timeout_s = assignment.settings.workers.drain_timeout_s
        self._drain: Drain | None = None
        self._empty_queue = False
        self._commanded: asyncio.Future[None] = loop.create_future()
        self._accepting = Accepting(
            loop,
            assignment.scoreboard,
            self._row,
            assignment.settings.listen.max_connections,
            self._notice,
        )
        self._connections = Connections(
            self._row, Routes(self._tell_route), Lingering(loop), loop.time
        )
        self._beat = Beat(loop, self._row, self._at_beat)
        self._title("starting")

    def say_that_it_ends(self) -> None:
        """Tell the supervisor, which sees to it that the end doesn't last for ever."""
        with contextlib.suppress(Exception):
            self._send(msg.Ending())

    async def main(self) -> int:
        """Boot, serve, drain. Returns the exit code."""
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._loop.add_signal_handler(signal.SIGTERM, self._leave, None)
        boot = self._loop.create_task(self._boot())
        await asyncio.wait({boot, self._told_to_leave}, return_when=asyncio.FIRST_COMPLETED)
        if boot.done():
            try:
                boot.result()
            except Exception as error:  # noqa: BLE001 - all that a factory may raise
                self._report_failed_boot(error)
                return int(ExitCode.BOOT_FAILED)
            self._become_ready()
            await self._told_to_leave
            await self._drain_and_report()
        else:
            self._send(msg.Draining())  # told to leave before it was ready: no failed boot
        await cancel_tasks()
        return int(ExitCode.DONE)

    # --- boot -------------------------------------------------------------------------------------

    async def _boot(self) -> None:
        assignment = self._assignment
        settings = assignment.settings
        DrainingHTTPServer.equip(self._accepting, self._connections)
        try:
            if assignment.app_arguments is not None:
                from tornado import options

                options.options.run_parse_callbacks()
            answerer = await build(self._target(), settings.app)
        except SystemExit as error:
            # As an ordinary error, or it would tear the loop down before it can be reported.
            raise AppError(f"The app left at boot: {first_line(error)}.") from error
        if getattr(autoreload.start, "asked", False):
            watched = settings.environment.reload_on_change
            self._notice("autoreload", AUTORELOAD_NOTICE + ("" if watched else AUTORELOAD_HINT))
        http, proxy = settings.http, settings.proxy
        self._server = DrainingHTTPServer(
            answerer,
            xheaders=proxy.xheaders,
            trusted_downstream=list(proxy.trusted_downstream),
            max_body_size=http.max_body_size_bytes,
            # Tornado's buffer must hold the largest body that a handler may get whole.
            max_buffer_size=max(http.max_body_size_bytes, 1024 * 1024),
            body_timeout=http.body_timeout_s,
            decompress_request=http.decompress,
        )
        health_path = settings.workers.health_path
        if assignment.is_canary and health_path is not None:
            await probe(self._server, health_path)

    def _target(self) -> object:
        assignment = self._assignment
        if assignment.settings.workers.boot == "preload":
            return assignment.target
        return load_target(assignment.settings.app, assignment.app_arguments, assignment.directory)

    def _become_ready(self) -> None:
        # A factory that changed its identity (setuid) has cleared what asks for our end.
        die_with_parent_thread(signal.SIGKILL)
        if os.getppid() != self._assignment.supervisor_pid:
            os._exit(0)
        self._row.store(sb.STATE, sb.RowState.READY)
        self._beat.start()
        self._server.add_sockets([sock for _, sock in self._assignment.listeners])
        self._title()
        self._send(msg.Ready(), open_stacks_file())

    def _report_failed_boot(self, error: Exception) -> None:
        fork_id, app = self._assignment.fork_id, self._assignment.settings.app
        if isinstance(error, (AppError, ProbeError)):
            reason, detail = str(error), ""
        elif isinstance(error, LoadError):
            reason, detail = error.reason, error.detail
        else:
            reason = f"Building {app} failed in worker {fork_id}: {first_line(error)}"
            detail = app_traceback(error)
        # Blocking, so that it surely leaves before the process does; and so nobody else may read.
        self._loop.remove_reader(self._channel.fileno())
        self._channel.set_blocking(True)
        with contextlib.suppress(ChannelClosed):
            self._channel.send(msg.BootFailed(reason, detail))

    # --- leaving ----------------------------------------------------------------------------------

    def _leave(self, timeout_s: float | None) -> None:
        """Begin to leave, or leave sooner. None: by SIGTERM, with the drain timeout as set."""
        if timeout_s is not None:
            self._drain_timeout_s = min(self._drain_timeout_s, timeout_s)
        if not self._told_to_leave.done():
            self._told_to_leave.set_result(None)
        elif self._drain is not None and timeout_s is not None:
            self._drain.hurry(timeout_s)

    async def _drain_and_report(self) -> None:
        if not self._commanded.done():
            # By TERM. A service manager sends it to all processes at once: then the supervisor has
            # more to say. Until it has had time to, this worker serves as before.
            await asyncio.wait({self._commanded}, timeout=COMMAND_WAIT_S)
        if self._empty_queue:
            await self._take_what_is_queued()
        self._accepting.stop()
        self._row.store(sb.STATE, sb.RowState.DRAINING)
        self._title("draining")
        self._send(msg.Draining())
        self._drain = Drain(
            self._connections,
            self._loop.time,
            self._drain_timeout_s,
            self._assignment.settings.workers,
        )
        self._send(await self._drain.run())

    async def _take_what_is_queued(self) -> None:
        """Accept until the kernel has nothing left: no further connection can begin, and what is
        not taken is reset.
        """
        self._connections.begin_drain()
        inherited = {sock for item, sock in self._assignment.listeners if item.is_inherited}
        self._accepting.take_all(except_for=inherited)
        deadline_s = self._loop.time() + self._drain_timeout_s
        while self._loop.time() < deadline_s:
            await asyncio.sleep(EMPTY_QUEUE_S)
            if not self._accepting.has_queued():
                return

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
                    case msg.ListTasks(number):
                        text = render_tasks(asyncio.all_tasks(self._loop))
                        self._send(msg.Tasks(number, text))
                    case other:
                        text = f"[BUG] a worker was sent {type(other).__name__}"
                        raise RemoteProtocolError(text)
        except (ChannelClosed, RemoteProtocolError):
            # The supervisor is gone. A fresh one needs our port: leave at once, without a drain.
            os._exit(0)

    def _send(self, message: msg.Message, *fds: int) -> None:
        """Send to the supervisor; what it has no room for just now is sent at a later beat."""
        self._unsent.append((message, fds))
        self._send_waiting()

    def _send_waiting(self) -> None:
        try:
            while self._unsent:
                self._channel.send(*self._unsent[0])
                self._unsent.popleft()
        except (BlockingIOError, ChannelClosed):
            return  # a closed channel is heard by _hear

    def _notice(self, key: str, text: str) -> None:
        self._send(msg.Notice(key, text))

    def _tell_route(self, number: int, name: str) -> None:
        self._send(msg.RouteNamed(number, name))

    # --- the beat ---------------------------------------------------------------------------------

    def _at_beat(self) -> None:
        if self._unsent:
            self._send_waiting()
        http = self._assignment.settings.http
        self._connections.sweep(http.idle_timeout_s, http.header_timeout_s)

    def _title(self, state: str = "") -> None:
        assignment = self._assignment
        title = f"tornado_multi: worker {assignment.fork_id} gen {assignment.generation} {state}"
        setproctitle(title.rstrip())
