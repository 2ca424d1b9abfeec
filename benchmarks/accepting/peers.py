"""Workers as Tornado forks them, with one of three listeners: ``python -m ... WAY WORKERS``.

Prints its port. The way ``shared`` is Tornado's own; ``exclusive`` is that with EPOLLEXCLUSIVE;
in the way ``reuseport`` each worker binds for itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import selectors
import signal
import sys
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes

from benchmarks.accepting.counting import make_app

if TYPE_CHECKING:
    import socket

PR_SET_PDEATHSIG = 1
BACKLOG = 2048


class ExclusiveSelector(selectors.EpollSelector):
    """Asks the kernel to wake one waiting process per event, for listeners."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        if key.fd in LISTENING:
            self._selector.unregister(key.fd)
            self._selector.register(key.fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        return key


LISTENING: set[int] = set()


async def serve(sockets: list[socket.socket]) -> None:
    """Serve for ever."""
    HTTPServer(make_app()).add_sockets(sockets)
    await asyncio.Event().wait()


def main() -> None:
    """Bind, print the port, fork, serve."""
    way, workers = sys.argv[1], int(sys.argv[2])
    bound = bind_sockets(0, "127.0.0.1", backlog=BACKLOG, reuse_port=way == "reuseport")
    port = bound[0].getsockname()[1]
    if way == "reuseport":
        bound[0].close()  # its queue would be nobody's; the workers bind the port anew
    print(port, flush=True)
    fork_processes(workers)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if way == "reuseport":
        bound = bind_sockets(port, "127.0.0.1", backlog=BACKLOG, reuse_port=True)
    LISTENING.update(sock.fileno() for sock in bound)
    if way == "exclusive":
        runner = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(ExclusiveSelector()))
    else:
        runner = asyncio.Runner()
    with runner:
        runner.run(serve(bound))


if __name__ == "__main__":
    os.setpgid(0, 0)
    main()
