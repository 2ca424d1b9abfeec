"""The logging handlers of this package: a file per process, and standard error.

A record that can't be written is dropped and counted: a full disk must not take the service down,
and must not slow it either. It is said once when that begins (``set_report``), and a line in the
file says how many records are missing once it can be written again.
Runs in: any process that logs, any thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING

from tornado_multi.logs.append_file import AppendFile
from tornado_multi.logs.formats import formatter_for
from tornado_multi.logs.plan import current_plan, file_path
from tornado_multi.logs.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_LOGGER = "tornado_multi.logs"
REPORT_AGAIN_S = 600
"""A disk that is full now and then is reported this often at most, per file."""
LOST = (
    "The log file {path} can't be written: {why}. The service goes on, and records are dropped until "
    "the file can be written again; a line in it will say how many."
)
NOT_ROTATED = (
    "The log file {path} can't be rotated: {why}. It grows until it can; its directory must be "
    "writable for the user that the app runs as."
)

_handlers: weakref.WeakSet[PerProcessFileHandler] = weakref.WeakSet()
_report: Callable[[str, str], None] | None = None


class PerProcessFileHandler(logging.Handler):
    """Writes to a file of its own in each process: ``{directory}/{name}.{fork_id}.log``.

    For ``logging.config.dictConfig`` too, as ``tornado_multi.PerProcessFileHandler``. The file is
    opened by the first record, in the process that logs it, and never shared by a fork.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        directory: str | None = None,
        max_bytes: int | None = None,
        rotate_every_s: int | None = None,
        backups: int | None = None,
        level: int | str = logging.NOTSET,
    ) -> None:
        """Take what differs from the service's own options.

        Args:
            name: of the files. Default: the service's name.
            directory: None: that of ``--log-dir``; with ``--log-file`` records go to that one file,
                without both to standard error.
            max_bytes, rotate_every_s, backups: see ``--log-max-bytes`` and its neighbours. 0 for
                the first two: never.
        Raises: ValueError: the name is no file name.
        """
        super().__init__(level)
        if name is not None and (not name or "/" in name or "\0" in name):
            text = f"name={name!r}: it names a file, so it can't be empty or have a slash."
            raise ValueError(text)
        self._stem = name
        self._directory = None if directory is None else os.path.abspath(directory)
        self._given = (max_bytes, rotate_every_s, backups)
        self._is_placed = False
        self._file: AppendFile | None = None
        self._lost = 0
        self._lost_why = ""
        self._has_rotation_problem = False
        self._own_formatter: logging.Formatter | None = None
        _handlers.add(self)

    @property
    def path(self) -> str | None:
        """Where this process writes; None: to standard error."""
        plan = current_plan()
        directory = self._directory
        if not plan.writes_files:
            return None
        if directory is None:
            if plan.file is not None:
                return plan.file
            directory = plan.directory
        return None if directory is None else file_path(directory, self._stem or plan.name)

    @property
    def is_of_plan(self) -> bool:
        """Whether it writes where the options of the service say."""
        return self._directory is None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Called with the handler's lock."""
        try:
            if not self._is_placed:
                self._place()
            data = self._encode(record)
            if self._file is None:
                _write_stderr(data)
            else:
                self._write(self._file, data)
        except Exception:  # noqa: BLE001 - as every handler does: logging never raises
            self.handleError(record)

    def reopen(self) -> None:
        """Close the file; the next record opens the path anew, by then as a new file maybe."""
        with contextlib.suppress(OSError):
            self._close_file()

    def close(self) -> None:
        """Close the file. A record that comes all the same opens it again."""
        self.reopen()
        super().close()

    def forget_place(self) -> None:
        """Find out anew where to write: this process has become another, or got a plan."""
        self._is_placed = False
        self._own_formatter = None
        self.reopen()

    def _close_file(self) -> None:
        self.acquire()
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self.release()

    def _place(self) -> None:
        path = self.path
        self._file = None if path is None else AppendFile(path, self._rotation())
        self._is_placed = True

    def _rotation(self) -> Rotation:
        planned = current_plan().rotation
        max_bytes, every_s, backups = self._given
        return Rotation(
            planned.max_bytes if max_bytes is None else max_bytes,
            planned.every_s if every_s is None else every_s or None,
            planned.backups if backups is None else max(1, backups),
        )

    def _encode(self, record: logging.LogRecord) -> bytes:
        formatter = self.formatter or self._own_formatter
        if formatter is None:
            formatter = self._own_formatter = formatter_for(current_plan().form)
        # A lone surrogate, which is what undecodable bytes become, is written as an escape.
        return (formatter.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _write(self, file: AppendFile, data: bytes) -> None:
        try:
            if self._lost:
                file.write(self._encode(self._lost_record()), time.time())
                self._lost = 0
            file.write(data, time.time())
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                self._lost_why = error.strerror or str(error)
                _say(file.path, LOST.format(path=file.path, why=self._lost_why))
        problem = file.rotation_problem
        if problem is not None and not self._has_rotation_problem:
            _say(f"{file.path} rotation", NOT_ROTATED.format(path=file.path, why=problem.strerror))
        self._has_rotation_problem = problem is not None

    def _lost_record(self) -> logging.LogRecord:
        text = "%d record%s of this process %s dropped here: %s."
        words = ("", "was") if self._lost == 1 else ("s", "were")
        values = (self._lost, *words, self._lost_why)
        return logging.LogRecord(OWN_LOGGER, logging.WARNING, __file__, 0, text, values, None)


class StderrHandler(logging.Handler):
    """Writes our form to whatever ``sys.stderr`` is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.formatter is None:
                self.formatter = formatter_for(current_plan().form)
            _write_stderr((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as above
            self.handleError(record)


def reopen_all() -> None:
    """Let every handler of this process open its file anew, for logrotate."""
    for handler in list(_handlers):
        handler.reopen()


def forget_places() -> None:
    """Let every handler of this process find out anew where it writes."""
    for handler in list(_handlers):
        handler.forget_place()


def set_report(report: Callable[[str, str], None] | None) -> None:
    """Say who tells the user what he should know once: called with a key and a sentence.

    It is called in any thread, with a handler's lock held, so it must not log.
    """
    global _report  # noqa: PLW0603 - a process has one way out for this
    _report = report


def _say(what: str, text: str) -> None:
    with contextlib.suppress(Exception):  # nobody is left to tell
        if _report is None:
            _write_stderr(f"tornado_multi: {text}\n".encode())
        else:
            # Workers who share the file, or whose disk is full again and again, say it once.
            _report(f"log {what} {time.time() // REPORT_AGAIN_S:.0f}", text)


def _write_stderr(data: bytes) -> None:
    stream = sys.stderr
    if stream is not None:
        stream.write(data.decode("utf-8"))
        stream.flush()


def _begin_child() -> None:
    # The files themselves were given back by append_file. Nothing here takes a lock or logs.
    for handler in list(_handlers):
        handler._is_placed = False  # noqa: SLF001 - our own
        handler._lost = 0  # noqa: SLF001 - the parent says it


os.register_at_fork(after_in_child=_begin_child)
