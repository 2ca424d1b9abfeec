"""What the supervisor says: the startup block and one line per event. Runs in: supervisor.

All of it is printed, and with log files it stands in those too (``own_log``). Text goes to people, JSON lines to machines. A failed write (a full disk, a reader that left) never
disturbs the supervisor.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from tornado_multi.supervisor.events import Say
from tornado_multi.supervisor.own_log import json_record, record_of

if TYPE_CHECKING:
    from tornado_multi.supervisor.patient import PatientStream


class Reporter:
    """Writes log lines to *stream* and the startup block to *block_stream*."""

    def __init__(
        self,
        form: Literal["text", "json"],
        stream: TextIO | PatientStream | None = None,
        block_stream: TextIO | PatientStream | None = None,
        own_log: PatientStream | None = None,
    ) -> None:
        self._form = form
        self._stream = stream or sys.stderr
        self._block_stream = block_stream or sys.stdout
        self._own_log = own_log

    def say(self, said: Say) -> None:
        """Write one log line (a text with line breaks is one record of several lines)."""
        at = _now()
        self._keep(at, said)
        if self._form == "json":
            _write(self._stream, json_record(at, said))
            return
        mark = "" if said.level == "info" else f"{said.level}: "
        stamp = at.strftime("%Y-%m-%d %H:%M:%S")
        _write(self._stream, f"{stamp} {said.who}: {mark}{said.text}\n")

    def warn(self, text: str) -> None:
        """Write a warning of the supervisor's own."""
        self.say(Say("warning", "supervisor", text))

    def block(self, lines: list[str], event: str, extra: dict[str, Any]) -> None:
        """Write part of the startup block as text, or the same facts as one JSON line."""
        at = _now()
        if self._form == "json":
            said = Say("info", "supervisor", event, extra)
            _write(self._stream, json_record(at, said))
        else:
            said = Say("info", "supervisor", "\n".join([event, *lines]))
            _write(self._block_stream, "".join(f"{line}\n" for line in lines))
        self._keep(at, said)

    def failure(self, reason: str, detail: str, death: dict[str, Any] | None = None) -> None:
        """Write why the service ends before it served: the traceback last, as Python does.

        Args: death: of the worker that is to blame, for machines.
        """
        at, text = _now(), f"{reason}\n{detail}".rstrip()
        if self._form == "json":
            extra = {"detail": detail} | ({} if death is None else {"death": death})
            said = Say("error", "supervisor", reason, extra)
            _write(self._stream, json_record(at, said))
        else:
            said = Say("error", "supervisor", text)
            _write(self._stream, text + "\n")
        self._keep(at, said)

    def pass_on(self, text: str) -> None:
        """Write what another program has written to its standard error, as it is."""
        if text:
            _write(self._stream, text)

    def _keep(self, at: datetime, said: Say) -> None:
        if self._own_log is not None:
            self._own_log.write(record_of(self._form, at, said))


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _write(stream: TextIO | PatientStream, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        # There is no better place to complain than the one that just failed.
        return
