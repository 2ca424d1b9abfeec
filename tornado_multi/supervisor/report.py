"""What the supervisor prints: the startup block and one line per event. Runs in: supervisor.

Text goes to people, JSON lines to machines. A failed write (a full disk, a reader that left) never
disturbs the supervisor.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from tornado_multi.supervisor.events import Say
    from tornado_multi.supervisor.patient import PatientStream


class Reporter:
    """Writes log lines to *stream* and the startup block to *block_stream*."""

    def __init__(
        self,
        form: Literal["text", "json"],
        stream: TextIO | PatientStream | None = None,
        block_stream: TextIO | PatientStream | None = None,
    ) -> None:
        self._form = form
        self._stream = stream or sys.stderr
        self._block_stream = block_stream or sys.stdout

    def say(self, said: Say) -> None:
        """Write one log line (a text with line breaks is one record of several lines)."""
        if self._form == "json":
            self._write_json(said.level, said.who, said.text, said.extra)
            return
        mark = "" if said.level == "info" else f"{said.level}: "
        stamp = _now().strftime("%Y-%m-%d %H:%M:%S")
        _write(self._stream, f"{stamp} {said.who}: {mark}{said.text}\n")

    def block(self, lines: list[str], event: str, extra: dict[str, Any]) -> None:
        """Write part of the startup block as text, or the same facts as one JSON line."""
        if self._form == "json":
            self._write_json("info", "supervisor", event, extra)
            return
        _write(self._block_stream, "".join(f"{line}\n" for line in lines))

    def failure(self, reason: str, detail: str, death: dict[str, Any] | None = None) -> None:
        """Write why the service ends before it served: the traceback last, as Python does.

        Args: death: of the worker that is to blame, for machines.
        """
        if self._form == "json":
            extra = {"detail": detail} | ({} if death is None else {"death": death})
            self._write_json("error", "supervisor", reason, extra)
            return
        _write(self._stream, f"{reason}\n{detail}".rstrip() + "\n")

    def pass_on(self, text: str) -> None:
        """Write what another program has written to its standard error, as it is."""
        if text:
            _write(self._stream, text)

    def _write_json(self, level: str, who: str, text: str, extra: dict[str, Any]) -> None:
        record = {"time": _now().isoformat(), "level": level, "who": who, "text": text} | extra
        _write(self._stream, json.dumps(record, ensure_ascii=False) + "\n")


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _write(stream: TextIO | PatientStream, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        # There is no better place to complain than the one that just failed.
        return
