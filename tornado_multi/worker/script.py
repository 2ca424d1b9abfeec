"""The worker of a script: the script's own main goes on, and its first Tornado server joins us to
the loop that it finds there.

Ready is the first ``add_sockets`` of any Tornado server. At the end of a drain the tasks of the loop
are cancelled, so that the ``finally`` blocks of the main program run, and SystemExit(0) passes
through it. Runs in: worker of a script.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING

from setproctitle import setproctitle
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.tcpserver import TCPServer

from tornado_multi.loading import switch_off_autoreload
from tornado_multi.logs.setup import renew_logs
from tornado_multi.process import messages as msg
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.after_fork import enter
from tornado_multi.worker.core import Worker
from tornado_multi.worker.end import cancel_tasks
from tornado_multi.worker.server import DrainingHTTPServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

    from tornado_multi.assignment import Assignment


def enter_script_worker(assignment: Assignment) -> None:
    """Make this process a worker; what remains happens when a server gets its sockets."""
    enter(assignment)
    setproctitle(f"tornado_multi: worker {assignment.fork_id} gen {assignment.generation} starting")
    switch_off_autoreload()
    joining = _Joining(assignment)
    HTTPServer.configure(DrainingHTTPServer)
    private.replace_add_sockets((TCPServer, DrainingHTTPServer), joining.add_sockets)


def _open_inodes() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            yield os.fstat(int(name)).st_ino


class _Joining:
    """Waits for the first server."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._inherited = set(_open_inodes())
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None

    def add_sockets(self, server: TCPServer, sockets: Iterable[socket.socket]) -> None:
        """Stand in for ``TCPServer.add_sockets`` of every server."""
        worker = self._worker
        if worker is None or worker.has_lost_its_loop():  # the program runs another one now
            worker = self._join()
        if isinstance(server, HTTPServer) and not isinstance(server, DrainingHTTPServer):
            # A subclass of the script's own: it gets our connection handling before its own.
            kind = type(server)
            name = f"Draining{kind.__name__}"
            server.__class__ = type(name, (DrainingHTTPServer, kind), {})
            private.without_header_timeout(server)
        private.add_sockets(server, sockets, worker.accepting, self._is_own)

    def _is_own(self, sock: socket.socket) -> bool:
        """Tell whether this worker has bound a socket by itself, for example with ``reuse_port``."""
        return os.fstat(sock.fileno()).st_ino not in self._inherited

    def _join(self) -> Worker:
        """Live on the loop of this thread from now on.

        Raises: RuntimeError: it is not the main thread, whose loop alone hears signals.
        """
        if threading.current_thread() is not threading.main_thread():
            text = (
                "The first server of a worker must get its sockets in the main thread, on the loop "
                f"that runs there; add_sockets was called in {threading.current_thread().name!r}."
            )
            raise RuntimeError(text)
        loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]  # asyncio is the only one
        before, worker = self._worker, Worker(self._assignment, loop)
        self._worker = worker
        DrainingHTTPServer.equip(worker.accepting, worker.connections, worker.health)
        was_told = before is not None and before.told_to_leave.done()
        self._task = loop.create_task(self._begin(worker, was_told), name="tornado_multi begin")
        return worker

    async def _begin(self, worker: Worker, was_told_to_leave: bool) -> None:  # noqa: FBT001 - private
        renew_logs()  # the program may have set up logging since the fork
        worker.hear()
        worker.explain_autoreload()
        worker.become_ready(self._assignment.hooks)
        # No task of ours waits for it: a program may cancel or await all tasks that it finds.
        worker.told_to_leave.add_done_callback(lambda _: self._leave(worker))
        if was_told_to_leave and not worker.told_to_leave.done():  # on a loop that ended first
            worker.told_to_leave.set_result(None)

    def _leave(self, worker: Worker) -> None:
        loop = worker.told_to_leave.get_loop()
        self._task = loop.create_task(self._end(worker), name="tornado_multi end")

    async def _end(self, worker: Worker) -> None:
        """Drain, and end the main program."""
        await worker.drain_and_report()
        # The end of the main task stops the loop, and its owner then cancels us too.
        with contextlib.suppress(asyncio.CancelledError):
            await cancel_tasks()
        worker.send(msg.Ending())
        raise SystemExit(0)
