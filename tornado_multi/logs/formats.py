"""The two forms of a log record: a text that people read, and a line of JSON. Pure but for the ids.

A record in text is one line that begins with time and level; further lines of it begin with four
blanks, so that nothing that is logged can pass for a record of its own:

    2026-11-25 10:00:00.123456+00:00 INFO     worker fork_id=3 gen=2 pid=81 req=4f2a: shop.views: text

Runs in: any process that logs. ``logs`` reads what is written here (``merge``).
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from tornado_multi.logs.request_id import request_id
from tornado_multi.process.identity import fork_id, generation

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d) (?P<level>\S+) +"
    r"(?:worker fork_id=(?P<fork_id>\d+) )?"
)
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "color",  # what Tornado's own formatter leaves behind
    "end_color",
    "taskName",
}
_ACCESS_LOGGER = "tornado.access"
_ACCESS_SUMMARY = re.compile(r"(?P<method>\S+) (?P<path>.*) \((?P<remote>.*)\)\Z", re.DOTALL)
"""Source: tornado/web.py, ``RequestHandler._request_summary``."""


def who(pid: int | None) -> str:
    """Name this process as all our log lines do."""
    place, number = fork_id(), generation()
    if place is not None:
        return f"worker fork_id={place} gen={number} pid={pid}"
    return f"pid={pid}" if number is None else f"zygote gen={number} pid={pid}"


class Stamps:
    """Writes points in time, with most of the work done once per second."""

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._last = (-1, "", "")

    def stamp(self, at_s: float) -> str:
        """Return local time with microseconds and the offset from UTC. Wall clock."""
        second = int(at_s)
        known, head, offset = self._last
        if known != second:
            local = time.localtime(second)
            head = time.strftime(f"%Y-%m-%d{self._separator}%H:%M:%S", local)
            sign, minutes = ("-+"[local.tm_gmtoff >= 0], abs(local.tm_gmtoff) // 60)
            offset = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
            self._last = (second, head, offset)
        return f"{head}.{int((at_s - second) * 1_000_000):06}{offset}"


class TextFormatter(logging.Formatter):
    """The text form."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps = Stamps(" ")

    def format(self, record: logging.LogRecord) -> str:
        """Return one record, without its line end."""
        number = getattr(record, "request_id", None) or request_id()
        request = "" if number is None else f" req={number}"
        text = (
            f"{self._stamps.stamp(record.created)} {record.levelname.replace(' ', ''):<8} "
            f"{who(record.process)}{request}: {record.name}: {record.getMessage()}"
        )
        for part in (_traceback(self, record), record.stack_info):
            if part:
                text += f"\n{part}"
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\\r")
        return text.rstrip("\n").replace("\n", "\n    ") if "\n" in text else text


class JsonFormatter(logging.Formatter):
    """One JSON object per record: the supervisor's keys, then what is known of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps = Stamps("T")

    def format(self, record: logging.LogRecord) -> str:
        """Return one record, without its line end."""
        fields: dict[str, Any] = {
            "time": self._stamps.stamp(record.created),
            "level": record.levelname.lower(),
            "who": who(record.process),
            "text": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
            "fork_id": fork_id(),
            "generation": generation(),
            "request_id": request_id(),
        }
        if record.name == _ACCESS_LOGGER:
            fields |= access_fields(record.args)
        if traceback := _traceback(self, record):
            fields["traceback"] = traceback
        if record.stack_info:
            fields["stack"] = record.stack_info
        for name in record.__dict__.keys() - _OF_EVERY_RECORD:
            if fields.get(name) is None:
                fields[name] = record.__dict__[name]
        try:
            return json.dumps(fields, ensure_ascii=False, default=str, allow_nan=False)
        except Exception:  # noqa: BLE001 - of an extra that JSON has no form for, or none at all
            plain = {str(name): _in_json(value) for name, value in fields.items()}
            return json.dumps(plain, ensure_ascii=False)


def _in_json(value: object) -> object:
    """Return a value, or a text for it, that JSON has a form for: better than to lose the record."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except Exception:  # noqa: BLE001 - as above
        try:
            return str(value)
        except Exception:  # noqa: BLE001 - as above
            return f"<a {type(value).__name__} that can't be shown>"
    return json.loads(text)


def access_fields(arguments: tuple[object, ...] | Mapping[str, object] | None) -> dict[str, Any]:
    """Return what Tornado's access log says of a request, as fields; nothing if it is another's."""
    match arguments:
        case (int(status), str(summary), float(duration_ms)):
            found = _ACCESS_SUMMARY.match(summary)
            if found is not None:
                return {
                    "method": found["method"],
                    "path": found["path"],
                    "status": status,
                    "duration_ms": round(duration_ms, 3),
                    "remote": found["remote"],
                }
    return {}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the record's traceback, written once for all handlers as the standard library does."""
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    return record.exc_text or ""


def formatter_for(form: str) -> logging.Formatter:
    """Return the formatter of ``text`` or ``json``."""
    return JsonFormatter() if form == "json" else TextFormatter()
