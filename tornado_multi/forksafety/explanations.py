"""Why a call failed on a connection that the quarantine has cut off: said with the error itself.

The error gets a note (PEP 678) that names the line which made the connection. Python's own sockets
add it to whatever their sending raises, so it is there also when a client closes the socket before
anybody sees the error. For all others: when an error is logged, the frames of its traceback are
searched for the object that has one of the cut descriptors.
Runs in: worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from tornado_multi.forksafety.audit import DeadEnd

PARTS = ("_sock", "sock", "_sslobj", "pgconn", "connection", "_connection")
"""Where objects keep their sockets."""
MOST_FRAMES = 100

_cut: dict[int, tuple[tuple[int, int], DeadEnd]] = {}
"""descriptor -> (identity of its dead end, what it was)"""


def sentence(end: DeadEnd) -> str:
    """Say what has happened to a connection, and the mend."""
    made = f" by {end.place}" if end.place else ""
    return (
        f"tornado_multi: this is a copy of the {end.what}, made before the fork{made}; it is cut off "
        "in this process. Mend: create it on first use in each process, with "
        "@tornado_multi.per_process."
    )


def explain_from_now_on(cut: dict[int, tuple[tuple[int, int], DeadEnd]]) -> None:
    """Have errors explained that are logged in this process. Runs in: worker, once."""
    if not cut:
        return
    _cut.update(cut)
    make = logging.getLogRecordFactory()

    def make_explained(*values: Any, **named: Any) -> logging.LogRecord:
        record = make(*values, **named)
        try:
            if record.exc_info and record.exc_info[1] is not None:
                explain(record.exc_info[1])
        except Exception:  # noqa: BLE001, S110 - of objects and errors of any class: log it plainly
            pass
        return record

    logging.setLogRecordFactory(make_explained)


class CutOffSocket(socket.socket):
    """What a Python socket becomes when its descriptor was made a dead end.

    Of the same layout, so that the object itself can change its class, wherever it is kept.
    """

    __slots__ = ()

    def send(self, *values: Any) -> int:
        with _explaining(self):
            return super().send(*values)

    def sendall(self, *values: Any) -> None:
        with _explaining(self):
            super().sendall(*values)

    def sendmsg(self, *values: Any) -> int:
        with _explaining(self):
            return super().sendmsg(*values)


def make_cut_off(thing: object) -> None:
    """Have the errors of a socket explained, if it is a plain one of Python's."""
    if type(thing) is socket.socket:
        thing.__class__ = CutOffSocket


@contextlib.contextmanager
def _explaining(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        end = _end_of(sock)
        if end is not None:
            _note(error, end)
        raise


def _note(error: BaseException, end: DeadEnd) -> None:
    text = sentence(end)
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def explain(error: BaseException) -> None:
    """Add a note to *error* if it comes from a connection that was cut off."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        end = _find(link.__traceback__)
        if end is not None:
            _note(error, end)
            return
        link = link.__cause__ or link.__context__


def _find(trace: TracebackType | None) -> DeadEnd | None:
    for _ in range(MOST_FRAMES):
        if trace is None:
            return None
        for value in _within_reach(trace.tb_frame):
            end = _end_of(value)
            if end is not None:
                return end
        trace = trace.tb_next
    return None


def _within_reach(frame: FrameType) -> Iterator[object]:
    """Return what the code of a frame may have used: local and global names, parts of ``self``."""
    names = frame.f_code.co_names
    yield from list(frame.f_locals.values())
    yield from [frame.f_globals[name] for name in names if name in frame.f_globals]
    own = _part(frame.f_locals.get("self"), "__dict__") or {}
    yield from [own[name] for name in names if name in own]


def _end_of(value: object) -> DeadEnd | None:
    for thing in (value, *(_part(value, name) for name in _parts_of(value))):
        if thing is None or issubclass(type(thing), type):
            continue
        try:
            fd = thing.fileno()
        except Exception:  # noqa: BLE001, S112 - closed, or of any library
            continue
        known = _cut.get(fd) if isinstance(fd, int) else None
        if known is not None and _is_same(fd, known[0]):
            return known[1]
    return None


def _part(value: object, name: str) -> Any:
    """Return an attribute; None: there is none, or a proxy has nothing to stand for."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - whatever a property of the app raises
        return None


def _parts_of(value: object) -> list[str]:
    names = _part(type(value), "__dict__") or {}
    own = _part(value, "__dict__") or {}
    return [name for name in PARTS if name in own or name in names]


def _is_same(fd: int, identity: tuple[int, int]) -> bool:
    try:
        seen = os.fstat(fd)
    except OSError:
        return False
    return (seen.st_dev, seen.st_ino) == identity
