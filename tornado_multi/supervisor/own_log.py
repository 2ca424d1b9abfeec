"""The supervisor's own lines in the log files too, for ``logs``. Runs in: supervisor.

Standard error has them all; here they stand beside what the workers log: with ``--log-dir`` in
``NAME.supervisor.log``, with ``--log-file`` in that one file. The rules of ``append_file`` hold, so
workers may write and rotate the same file. A disk that is full or hangs stops nothing: a
``PatientStream`` writes, in a thread of its own, and what can't be written is dropped and counted.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from tornado_multi.logs.append_file import AppendFile
from tornado_multi.logs.rotation import Rotation
from tornado_multi.process.linux import open_files_as
from tornado_multi.supervisor.patient import PatientStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tornado_multi.process.account import Account
    from tornado_multi.settings.model import LoggingSettings
    from tornado_multi.supervisor.events import Say
    from tornado_multi.supervisor.status import LogPlace

MOST_HELD = 1000
"""Records that wait for the directory, which the first zygote makes."""
LOST = (
    "The log file {path} can't be written: {why}. The service goes on; what the supervisor says is "
    "on standard error alone until the file can be written again."
)


def path_of(place: LogPlace, name: str) -> str | None:
    """Return the file that the supervisor of the service *name* writes; None: none."""
    if place.file is not None or place.directory is None:
        return place.file
    return os.path.join(place.directory, f"{name}.supervisor.log")


def open_own_log(
    path: str, logging: LoggingSettings, account: Account | None, report: Callable[[str], None]
) -> PatientStream:
    """Return the stream of the supervisor's own file. Opens nothing yet, and never blocks.

    Args:
        account: whose files they are; None: our own.
        report: told once, in the stream's thread, when the file can't be written.
    """
    rotation = Rotation(logging.log_max_bytes, logging.log_rotate_every_s, logging.log_backups)
    return PatientStream(OwnLog(AppendFile(path, rotation), account, report))


class OwnLog:
    """Appends whole records. Everything here runs in the thread of its ``PatientStream``."""

    def __init__(
        self, file: AppendFile, account: Account | None, report: Callable[[str], None]
    ) -> None:
        self._file = file
        self._account = account
        self._report = report
        self._held: deque[str] = deque(maxlen=MOST_HELD)
        self._lost = 0

    def write(self, text: str) -> int:
        """Append one record, or drop it. Never raises."""
        self._held.append(text)
        if os.path.isdir(os.path.dirname(self._file.path)):
            while self._held:
                self._append(self._held.popleft())
        return len(text)

    def flush(self) -> None:
        """Do nothing: a record is one write."""

    def _append(self, text: str) -> None:
        try:
            if self._account is not None:
                # The directory is that user's, who could have put a link in place of the file.
                account, self._account = self._account, None
                open_files_as(account.user_id, account.group_id)
            if self._lost:
                text = f"... {self._lost} lines were dropped here ...\n{text}"
            self._file.write(text.encode("utf-8", "backslashreplace"), time.time())
            self._lost = 0
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                self._report(LOST.format(path=self._file.path, why=error.strerror or error))


def text_record(at: datetime, said: Say) -> str:
    """Return the form that the workers' records have, with further lines indented. Pure."""
    text = said.text.rstrip("\n").replace("\r", "\\r").replace("\n", "\n    ")
    return f"{at.isoformat(' ', 'microseconds')} {said.level.upper():<8} {said.who}: {text}\n"


def json_record(at: datetime, said: Say) -> str:
    """Return one line of JSON. Pure."""
    fields: dict[str, Any] = {
        "time": at.isoformat(),
        "level": said.level,
        "who": said.who,
        "text": said.text,
    }
    return json.dumps(fields | said.extra, ensure_ascii=False) + "\n"


def record_of(form: Literal["text", "json"], at: datetime, said: Say) -> str:
    """Return one record in the form that the settings name. Pure."""
    return json_record(at, said) if form == "json" else text_record(at, said)
