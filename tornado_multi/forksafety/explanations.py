"""Why a call failed on a connection that the quarantine has cut off: said with the error itself.

The error gets a note (PEP 678) that names the line which made the connection. Python's own sockets
add it to whatever their sending raises, so it is there also when a client closes the socket before
anybody sees the error. For all others: when something is logged with an error, or while one is
being handled, the frames of its traceback are searched for the object that has one of the cut
descriptors.

An app that logs the text of an error alone would lose the note, so the first use of each connection
is a warning too. It is seen where Python's own socket sends or receives, and else where something is
logged while an error of a connection is handled. What a client in C, or TLS, does silently is not seen: that would
need a look at each of its calls. (PostgreSQL's clients show the sentence as the server's own.)
Runs in: worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.resources.hints import explain_forgotten_await

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from tornado_multi.forksafety.heritage import DeadEnd

log = logging.getLogger(__name__)
PARTS = ("_sock", "sock", "_sslobj", "pgconn", "connection", "_connection")
"""Where objects keep their sockets."""
MOST_FRAMES = 100

_cut: dict[int, tuple[tuple[int, int], DeadEnd]] = {}
"""descriptor -> (identity of its dead end, what it was)"""
_unsaid: dict[tuple[int, int], DeadEnd] = {}
"""identity -> what it was, of those whose use was not yet told"""


def sentence(end: DeadEnd) -> str:
    """Say what has happened to a connection, where it was made, and the mend."""
    made = f" at {end.place}" if end.place else ""
    return (
        f"tornado_multi: The {end.what} was made{made} before the fork, and belongs to another "
        "process; it is cut off in this one. Mend: create it on first use in each process, with "
        "@tornado_multi.per_process."
    )


def explain_from_now_on(cut: dict[int, tuple[tuple[int, int], DeadEnd]]) -> None:
    """Have errors explained that are logged in this process. Runs in: worker, once."""
    _cut.update(cut)
    _unsaid.update(cut.values())
    make = logging.getLogRecordFactory()

    def make_explained(*values: Any, **named: Any) -> logging.LogRecord:
        record = make(*values, **named)
        with contextlib.suppress(Exception):  # of objects and errors of any class: log it plainly
            _explain_record(record)
        return record

    logging.setLogRecordFactory(make_explained)


def _explain_record(record: logging.LogRecord) -> None:
    if record.exc_info and record.exc_info[1] is not None:
        explain_forgotten_await(record.exc_info[1])
        identity = explain(record.exc_info[1])
        if identity is not None:
            _unsaid.pop(identity, None)  # this record says it
    elif _unsaid:  # the record may have the text of an error that is being handled
        error = sys.exception()
        # Of others that come from a frame which only knows the connection, a note is enough.
        is_of_connection = any(isinstance(link, (OSError, EOFError)) for link in _chain(error))
        identity = explain(error) if error is not None and is_of_connection else None
        if identity is not None:
            _warn(identity)


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

    def recv(self, *values: Any) -> bytes:
        _warn_of(self)  # it gets the end of the stream, which is no error
        return super().recv(*values)

    def recv_into(self, *values: Any) -> int:
        _warn_of(self)
        return super().recv_into(*values)


def make_cut_off(thing: object) -> None:
    """Have the errors of a socket explained, if it is a plain one of Python's."""
    if type(thing) is socket.socket:
        thing.__class__ = CutOffSocket


@contextlib.contextmanager
def _explaining(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = _end_of(sock)
        if known is not None:
            _note(error, known[1])
            _warn(known[0])
        raise


def _warn_of(sock: socket.socket) -> None:
    known = _end_of(sock) if _unsaid else None
    if known is not None:
        _warn(known[0])


def _warn(identity: tuple[int, int]) -> None:
    """Say it once for each connection: an app may log the text of the error alone, or nothing."""
    end = _unsaid.pop(identity, None)  # first: this record is looked at as well
    if end is not None:
        log.warning("%s", sentence(end).removeprefix("tornado_multi: "))


def _note(error: BaseException, end: DeadEnd) -> None:
    text = sentence(end)
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def explain(error: BaseException) -> tuple[int, int] | None:
    """Add a note to *error* if it comes from a connection that was cut off.

    Returns: the identity of its dead end; None: it comes from elsewhere.
    """
    for link in _chain(error):
        known = _find(link.__traceback__)
        if known is not None:
            _note(error, known[1])
            return known[0]
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error, what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _find(trace: TracebackType | None) -> tuple[tuple[int, int], DeadEnd] | None:
    """Return the dead end within reach of a traceback, with its identity."""
    for _ in range(MOST_FRAMES):
        if trace is None:
            return None
        for value in _within_reach(trace.tb_frame):
            known = _end_of(value)
            if known is not None:
                return known
        trace = trace.tb_next
    return None


def _within_reach(frame: FrameType) -> Iterator[object]:
    """Return what the code of a frame may have used: local and global names, parts of ``self``."""
    names = frame.f_code.co_names
    yield from list(frame.f_locals.values())
    yield from [frame.f_globals[name] for name in names if name in frame.f_globals]
    own = _part(frame.f_locals.get("self"), "__dict__") or {}
    yield from [own[name] for name in names if name in own]


def _end_of(value: object) -> tuple[tuple[int, int], DeadEnd] | None:
    for thing in (value, *(_part(value, name) for name in _parts_of(value))):
        if thing is None or issubclass(type(thing), type):
            continue
        if not callable(getattr(type(thing), "fileno", None)):
            continue  # not by its own getattr either: a client may make a call of any name
        try:
            fd = thing.fileno()
        except Exception:  # noqa: BLE001, S112 - closed, or of any library
            continue
        known = _cut.get(fd) if isinstance(fd, int) else None
        if known is not None and _is_same(fd, known[0]):
            return known
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
