"""Who listens on an address that we wanted. Runs in: supervisor, when it is about to give up."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from tornado_multi.settings.bind import TcpBind, UnixBind

if TYPE_CHECKING:
    from tornado_multi.settings.bind import Bind

OURS = "tornado_multi: "
"""How the names of our processes begin."""
ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def holder_of(bind: Bind) -> str | None:
    """Return who holds an address, as ``nginx (pid 812)``; None: nobody whom we may see.

    Only root sees the sockets of other people's processes.
    """
    import psutil  # for a message before the end: not for every start

    pids: set[int] = set()
    with contextlib.suppress(psutil.Error, OSError, UnicodeError):
        if isinstance(bind, TcpBind):
            addresses = _addresses(bind.host)
            pids = {
                item.pid
                for item in psutil.net_connections("tcp")
                if item.status == psutil.CONN_LISTEN
                and item.pid is not None
                and item.laddr.port == bind.port
                and (item.laddr.ip in addresses | ANY or addresses & ANY)
            }
        elif isinstance(bind, UnixBind):
            pids = {
                item.pid
                for item in psutil.net_connections("unix")
                if item.laddr == bind.path and item.pid is not None
            }
    for pid in sorted(pids):  # the oldest first: a service's own processes share its sockets
        with contextlib.suppress(psutil.Error):
            holder = _in_charge(psutil.Process(pid))
            return f"{holder.name()} (pid {holder.pid})"
    return None


def _in_charge(process: Any) -> Any:
    """Return the process to be stopped: of a service of ours the supervisor, not a worker of it."""
    parent = process.parent()
    while parent is not None and process.name().startswith(OURS) and parent.name().startswith(OURS):
        process, parent = parent, parent.parent()
    return process


def _addresses(host: str) -> set[str]:
    return {str(item[4][0]) for item in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)}
