"""The id of the request that is being handled, made only when somebody asks. Runs in: worker.

A server says which request begins; what that costs a request is one small object. Tasks that a
handler starts inherit the id with their context; threads don't.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
"""What is taken over from a client: it goes into log lines, and into headers of other services."""


class _Request:
    __slots__ = ("_headers", "_id")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers: Mapping[str, str] | None = headers
        self._id = ""

    def id(self) -> str:
        if self._headers is not None:
            given = self._headers.get(HEADER, "")
            self._id = given if _SANE.match(given) else os.urandom(8).hex()
            self._headers = None
        return self._id


_current: ContextVar[_Request | None] = ContextVar("tornado_multi_request", default=None)


def request_id() -> str | None:
    """Return the id of the request that is being handled here, or None outside one.

    It is the request's X-Request-Id if that is 1..128 letters, digits, dots, dashes and underscores;
    otherwise 16 hexadecimal digits that stay the same for this request.
    Runs in: worker, in a handler or what it awaits or starts as a task.
    """
    current = _current.get()
    return None if current is None else current.id()


def begin_request(headers: Mapping[str, str]) -> None:
    """Say that a request with these headers is handled in this context from now on."""
    _current.set(_Request(headers))


def end_request() -> None:
    """Say that what follows in this context belongs to no request."""
    _current.set(None)
