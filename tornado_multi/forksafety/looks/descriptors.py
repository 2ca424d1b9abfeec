"""Descriptors that nothing else has claimed. Runs in: zygote; ``check``."""

from __future__ import annotations

import os
import stat
import weakref
from typing import TYPE_CHECKING

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety.recorder import identity_of

if TYPE_CHECKING:
    from tornado_multi.forksafety.findings import Site
    from tornado_multi.forksafety.ledger import Ledger, Objects


def look_at_descriptors(ledger: Ledger) -> None:
    """Say what is left: each descriptor that nothing else has claimed."""
    for fd, item in sorted(ledger.open.items()):
        ledger.heritage.seen[fd] = item.identity
        # A thread may have closed it since the survey.
        if fd not in ledger.claimed and identity_of(fd) == item.identity:
            _say_descriptor(ledger, fd, item)


def _say_descriptor(ledger: Ledger, fd: int, item: fds.Descriptor) -> None:
    site = ledger.site_of_fd(fd)
    if item.is_socket:
        _say_socket(ledger, fd, site)
    elif item.anonymous is not None:
        kind = {"eventpoll": "epoll", "eventfd": "eventfd"}.get(item.anonymous, "descriptor")
        ledger.add(kind, f"{item.anonymous} descriptor {fd}", site)
        if kind == "epoll":
            ledger.replace_epoll(fd, site)
    elif stat.S_ISFIFO(item.mode):
        end = "write" if item.is_writable else "read"
        ledger.add("pipe", f"{end} end of a pipe, descriptor {fd}", site)
    elif stat.S_ISREG(item.mode) and not item.target.startswith(("/proc/", "/memfd:")):
        _say_file(ledger, item, site)


def _say_socket(ledger: Ledger, fd: int, site: Site | None) -> None:
    facts = fds.socket_facts(fd)
    if facts is not None and facts.may_get_session and (site is None or site.allowed is None):
        ledger.heritage.unconnected.add(fd)
    if facts is None:
        ledger.add("descriptor", f"socket, descriptor {fd}", site)
    elif facts.has_session:
        state = "connecting" if facts.is_connecting else "connected"
        what = f"{state} socket {facts.text()}"
        ledger.add("connected-socket", what, site)
        ledger.cut_off(fd, what, site)
    elif facts.is_listening:
        ledger.add("listening-socket", f"listening socket {facts.text()}", site)
    elif facts.is_pair:
        ledger.add("socket-pair", f"one end of a socket pair, descriptor {fd}", site)
    elif not facts.is_stream and not facts.is_unix:
        ledger.add("udp-socket", f"UDP socket {facts.text()}", site)
    else:
        ledger.add("datagram-socket", f"socket {facts.text()}".rstrip(), site)


def _say_file(ledger: Ledger, item: fds.Descriptor, site: Site | None) -> None:
    if not item.is_writable:
        by_app = site is not None and site.via is None
        kind = "read-file" if by_app else "file"
        ledger.add(kind, f"file {item.target}, opened for reading", site)
    elif item.flags & os.O_APPEND:
        ledger.add("file", f"file {item.target}, opened for appending", site)
    else:
        ledger.add("written-file", f"file {item.target}, opened for writing", site)


def remember_writers(ledger: Ledger, objects: Objects) -> None:
    """Remember which files may have something in their buffer."""
    for thing in (*objects.get("text", []), *objects.get("buffer", [])):
        if not thing.closed and thing.writable():
            ledger.heritage.writers.append(weakref.ref(thing))
