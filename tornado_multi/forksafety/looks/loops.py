"""Event loops that were made before the fork. Runs in: zygote; ``check``."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety.findings import Severity
from tornado_multi.forksafety.heap import class_of

if TYPE_CHECKING:
    from tornado_multi.forksafety.ledger import Ledger, Objects


HTTP_CLIENTS = ("tornado/httpclient.py", "tornado/curl_httpclient.py")
HTTP_CLIENT_HARM = (
    "The client stays tied to this loop, and no worker runs it: a fetch that waits for a free place "
    "has no time limit, and with curl no fetch ever ends."
)
HTTP_CLIENT_MEND = (
    "make it in a handler or in the factory of the app: AsyncHTTPClient() is cheap there, and the "
    "same client in the whole process."
)
OURS = "tornado_multi.dubbo.blocking"
"""The module of the loops that our client for blocking calls runs in a thread."""


def look_at_loops(ledger: Ledger, objects: Objects) -> None:
    """Say which loops no worker will run."""
    for loop in objects.get("loop", []):
        with ledger.in_spite_of(class_of(loop)):
            if not loop.is_closed():
                _say_loop(ledger, loop, objects)


def _say_loop(ledger: Ledger, loop: Any, objects: Objects) -> None:
    own = _fds_of_loop(ledger, loop)
    selector = getattr(loop, "_selector", None)
    watched = 0 if selector is None else len(selector.get_map() or ()) - 1
    watches = f", watching {watched} descriptors" if watched > 0 else ""
    site = ledger.recorder.site_of(loop)
    severity = Severity.CRITICAL if loop.is_running() or watched > 0 else Severity.HIGH
    name = type(loop).__module__.partition(".")[0]
    words = {}
    what = f"event loop of {name}{watches}"
    if type(loop).__module__ == OURS:
        what = "event loop of a DubboClient for blocking calls"
        severity = Severity.HANDLED
        words = {"harm": "Each process gets one of its own.", "mend": "nothing."}
    elif site is not None and (site.via or "").startswith(HTTP_CLIENTS):
        what += ", made by Tornado's HTTP client"
        words = {"harm": HTTP_CLIENT_HARM, "mend": HTTP_CLIENT_MEND}
        if "tornado.curl" in objects:
            own |= {fd for fd in ledger.open if _is_eventfd_of_c(ledger, fd)}
    ledger.add("event-loop", what, site, severity=severity, **words)
    ledger.claim(own)
    for fd in own:
        if fd in ledger.open and ledger.open[fd].is_socket:
            ledger.cut_off(fd, "event loop's self-pipe", site)
        elif fd in ledger.open and ledger.open[fd].anonymous == "eventpoll":
            ledger.replace_epoll(fd, site)


def _is_eventfd_of_c(ledger: Ledger, fd: int) -> bool:
    return ledger.open[fd].anonymous == "eventfd" and ledger.site_of_fd(fd) is None


def _fds_of_loop(ledger: Ledger, loop: Any) -> set[int]:
    numbers = set()
    for name in ("_selector", "_ssock", "_csock"):
        part = getattr(loop, name, None)
        if part is not None:
            numbers.add(part.fileno())
    if not numbers:  # of C: it has made what nobody else has noted
        for fd, item in ledger.open.items():
            is_of_loop = item.anonymous is not None or stat.S_ISFIFO(item.mode)
            if is_of_loop and ledger.recorder.site_of_fd(fd, item.identity) is None:
                numbers.add(fd)
                numbers.update(
                    other
                    for other in fds.watched_by(fd)
                    if other in ledger.open and ledger.site_of_fd(other) is None
                )
    return numbers
