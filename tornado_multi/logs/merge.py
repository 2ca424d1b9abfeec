"""Log files put back together: lines to records, filters, order. Pure.

Reads both forms of ``formats``. What a file begins with that is no record of ours (an app's own
format) is kept line by line, at the time of the record before it.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tornado_multi.logs.formats import FIRST_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_OTHER_NAMES = {"warn": "warning", "fatal": "critical"}
"""As the module logging has them too."""
_NUMBERED_LEVEL = re.compile(r"level(\d+)\Z")
_FORK_ID_IN_NAME = re.compile(r"\.(\d+)\.log(\.\d+)?\Z")
_WORKER = re.compile(r"worker fork_id=(\d{1,9})(?: |\Z)")
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?\Z")
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(slots=True)
class Entry:
    """One record as it is stored."""

    time_s: float
    """Wall clock."""
    level: int
    """A number of the module logging; 0: not known."""
    fork_id: int | None
    text: str
    """All its lines, without the last line end."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What somebody wants to see; None: everything."""

    fork_ids: frozenset[int] | None = None
    level: int = 0
    since_s: float | None = None
    text: str | None = None

    def accept(self, entry: Entry) -> bool:
        """Tell whether an entry is wanted. One without a level that is known is never too low."""
        return (
            (self.fork_ids is None or entry.fork_id in self.fork_ids)
            and (entry.level == 0 or entry.level >= self.level)
            and (self.since_s is None or entry.time_s >= self.since_s)
            and (self.text is None or self.text in entry.text)
        )


class Reader:
    """Makes records of the lines of one file. The last one is kept back: it may go on."""

    def __init__(self, fork_id: int | None = None) -> None:
        """Take what the file's name says."""
        self._fork_id = fork_id
        self._open: Entry | None = None
        self._time_s = 0.0

    def feed(self, lines: Iterable[str]) -> Iterator[Entry]:
        """Take whole lines, without their ends; yield the records that they complete."""
        for line in lines:
            if not line.strip() and self._open is None:
                continue  # of a write that was cut short
            begun = self._begin(line)
            if begun is None and self._open is not None and line[:1] in {" ", ""}:
                self._open.text += f"\n{line}"
                continue
            yield from self.flush()
            self._open = begun or Entry(self._time_s, 0, self._fork_id, line)
            self._time_s = self._open.time_s

    @property
    def kept_s(self) -> float | None:
        """When the record was written that is kept back, if one is and its time is known."""
        return None if self._open is None else self._open.time_s or None

    def flush(self) -> Iterator[Entry]:
        """Yield the record that was kept back: nothing more of it will come."""
        if self._open is not None:
            entry, self._open = self._open, None
            entry.text = entry.text.rstrip()
            yield entry

    def _begin(self, line: str) -> Entry | None:
        if line.startswith("{"):
            return self._from_json(line)
        found = FIRST_LINE.match(line)
        if found is None:
            return None
        fork_id = found["fork_id"]
        try:
            return Entry(
                datetime.fromisoformat(found["time"]).timestamp(),
                level_of(found["level"]),
                self._fork_id if fork_id is None else int(fork_id),
                line,
            )
        except (ValueError, OverflowError):  # it only looks like one of ours: a month 99, ...
            return None

    def _from_json(self, line: str) -> Entry | None:
        try:
            fields = json.loads(line)
            time_s = datetime.fromisoformat(fields["time"]).timestamp()
            level = level_of(str(fields.get("level", "")))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        fork_id = fields.get("fork_id")
        if not isinstance(fork_id, int):  # the supervisor's, who may speak of a worker
            spoken_of = _WORKER.match(str(fields.get("who", "")))
            fork_id = self._fork_id if spoken_of is None else int(spoken_of[1])
        return Entry(time_s, level, fork_id, line)


def level_of(name: str) -> int:
    """Return the number of a level as our forms write it; 0 if there is no such level."""
    known = LEVELS.get(name.lower())
    if known is not None:
        return known
    numbered = _NUMBERED_LEVEL.match(name.lower().replace(" ", ""))
    if numbered is not None:
        return int(numbered[1])
    return logging.getLevelNamesMapping().get(name.upper(), 0)


def parse_level(text: str) -> int:
    """Return the number of a level that somebody has typed.

    Raises: ValueError: there is no such level; a full sentence.
    """
    name = text.lower()
    known = LEVELS.get(_OTHER_NAMES.get(name, name))
    if known is None:
        message = f"level={text}: must be one of {', '.join(LEVELS)}."
        raise ValueError(message)
    return known


def fork_id_in_name(name: str) -> int | None:
    """Return the fork_id that the name of a log file says."""
    found = _FORK_ID_IN_NAME.search(name)
    return None if found is None else int(found[1])


def parse_since(text: str, now: datetime) -> float:
    """Return the moment, wall clock, that somebody has typed: ``10m``, ``yesterday``, an ISO time.

    Raises: ValueError: it is none of these; a full sentence.
    """
    ago = _AGO.match(text)
    try:
        if ago is not None:
            return (now - timedelta(seconds=float(ago[1]) * _UNIT_S[ago[2]])).timestamp()
        # Without an offset it is local time, as people and the text form write it.
        today = now.astimezone().date()
        if text in {"today", "yesterday"}:
            text = str(today - timedelta(days=text == "yesterday"))
        elif _CLOCK.match(text) is not None:
            text = f"{today}T{text}"
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        message = (
            f"since={text}: must be a time ago such as 10m, 2h or 1d, or a moment such as today, "
            "yesterday, 10:00 or 2026-11-25T10:00."
        )
        raise ValueError(message) from None
