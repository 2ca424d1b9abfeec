"""``logs``: what the service's processes have logged, merged by time."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.logs.belonging import directories_of
from tornado_multi.logs.merge import Filters, fork_id_in_name, parse_level, parse_since
from tornado_multi.logs.reading import Follower, find_families, read_all
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.load import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tornado_multi.logs.merge import Entry
    from tornado_multi.settings.model import ControlSettings

LOOK_EVERY_S = 0.2
DEFAULT_TAIL = 100


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What was asked for on the command line."""

    follow: bool = False
    fork_ids: tuple[int, ...] = ()
    level: str | None = None
    since: str | None = None
    grep: str | None = None
    tail: int | None = None
    """None: 100, or all with *since*."""
    directory: str | None = None
    file: str | None = None


class NoLogsError(Exception):
    """There is nothing to read; a full sentence."""


def logs(settings: ControlSettings, query: LogQuery) -> int:
    """Print records. Returns the exit code.

    Raises: UsageError: an option's value is wrong.
    """
    filters = _filters(query)
    tail = query.tail
    if tail is None and query.since is None:
        tail = DEFAULT_TAIL
    try:
        directory, file = _place(settings, query)
        follower = Follower(directory, file) if query.follow else None
        ends = None if follower is None else follower.ends()
        families = find_families(directory, file)
        found = read_all(families, filters, tail, ends)
        _print(found)
        if not found and tail != 0:
            print(f"tornado-multi: {_nothing(query, families)}", file=sys.stderr)
        while follower is not None:
            _print(follower.look(filters))
            time.sleep(LOOK_EVERY_S)
    except ControlError as error:
        print(f"tornado-multi: {error} --log-dir reads files without it.", file=sys.stderr)
        return int(error.exit_code)
    except NoLogsError as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        return int(ExitCode.NO)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        print(f"tornado-multi: {error.filename}: {error.strerror}.", file=sys.stderr)
        return int(ExitCode.NO)
    except KeyboardInterrupt:
        if follower is None:
            raise
    return int(ExitCode.DONE)


def _filters(query: LogQuery) -> Filters:
    now = datetime.now(UTC).astimezone()
    try:
        since_s = None if query.since is None else parse_since(query.since, now)
        level = 0 if query.level is None else parse_level(query.level)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Filters(frozenset(query.fork_ids) or None, level, since_s, query.grep)


def _nothing(query: LogQuery, families: Iterable[str]) -> str:
    """Say that there is nothing to show: silence would leave open whether it was looked for."""
    known = {fork_id_in_name(family.rpartition("/")[2]) for family in families} - {None}
    strange = sorted(set(query.fork_ids) - known)
    if strange and known:
        there = ", ".join(str(fork_id) for fork_id in sorted(known, key=lambda item: item or 0))
        return (
            f"No record, and no file, of fork_id {', '.join(map(str, strange))}; there are files "
            f"of fork_id {there}."
        )
    if Filters() == _filters(query):
        return "Nothing has been logged yet."
    return "No record is what these options ask for."


def _place(settings: ControlSettings, query: LogQuery) -> tuple[str | None, str | None]:
    """Return the directory or the file to read: what was named, else what the service says.

    Raises: ControlError: no supervisor answers. NoLogsError: the service writes no files.
    """
    if query.directory is not None or query.file is not None:
        file = None if query.file is None else os.path.abspath(query.file)
        return query.directory, file
    connection = connect(settings)
    replies: list[dict[str, Any]] = list(connection.ask(Request("status")))
    connection.close()
    if not replies or replies[-1]["event"] != "done":
        raise NoLogsError("The supervisor did not say where it logs.")
    status = replies[-1]["status"]
    place = status.get("logs") or {}
    if place.get("directory") is not None or place.get("file") is not None:
        return place["directory"], place["file"]
    workers = {row["pid"]: row["fork_id"] for row in status["workers"] if row["pid"] is not None}
    own = directories_of(workers)
    if len(own) == 1:
        return own[0], None
    if own:
        text = (
            f"The app of the service {status['name']} writes log files in {' and '.join(own)}: choose "
            "one with --log-dir."
        )
        raise NoLogsError(text)
    text = (
        f"The service {status['name']} has no log files: its records go to the standard error that "
        "it was started with. Start it with --log-dir or --log-file. If the app writes files by "
        "itself, name their directory: tornado-multi logs --log-dir DIR."
    )
    raise NoLogsError(text)


def _print(entries: Iterable[Entry]) -> None:
    for entry in entries:
        print(entry.text)
    sys.stdout.flush()
