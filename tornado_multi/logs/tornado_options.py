"""Tornado's own log options (``log_file_prefix``) with a file per process.

Tornado opens the file that ``log_file_prefix`` names in each process that parses options: workers
would share one file and rotate it under each other. Here each worker writes ``PREFIX.FORK_ID.log``.
Level, format, size, period and number of backups are those of Tornado's options.
Source: tornado/log.py, ``enable_pretty_logging``. Runs in: zygote, worker.
"""

from __future__ import annotations

import logging
import os
import sys
import types
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from typing import Any

from tornado_multi.logs.handler import PerProcessFileHandler

SECONDS = {"S": 1, "M": 60, "H": 3600, "D": 86400, "MIDNIGHT": 86400, "W": 7 * 86400}


def make_files_per_process() -> None:
    """Replace Tornado's ``enable_pretty_logging`` by one that opens files in our way."""
    from tornado import log

    original = log.enable_pretty_logging
    if getattr(original, "is_per_process", False):
        return

    def enable_pretty_logging(options: Any = None, logger: logging.Logger | None = None) -> None:
        if options is None:
            import tornado.options

            options = tornado.options.options
        prefix = options.log_file_prefix
        # The rest is Tornado's affair; beside a file it logs to stderr only when told to.
        to_stderr = options.log_to_stderr if prefix is None else bool(options.log_to_stderr)
        others = types.SimpleNamespace(
            logging=options.logging, log_file_prefix=None, log_to_stderr=to_stderr
        )
        original(others, logger)
        if prefix and options.logging is not None and options.logging.lower() != "none":
            _add_file(logger or logging.getLogger(), _handler_for(options))

    enable_pretty_logging.is_per_process = True  # type: ignore[attr-defined]  # read above
    log.enable_pretty_logging = enable_pretty_logging


def mend_inherited_handlers() -> None:
    """Replace what Tornado opened for ``log_file_prefix`` before the fork, in a script's main."""
    options = sys.modules.get("tornado.options")
    if options is None or not (prefix := options.options.log_file_prefix):
        return
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(
            handler, (RotatingFileHandler, TimedRotatingFileHandler)
        ) and handler.baseFilename == os.path.abspath(prefix):
            root.removeHandler(handler)
            handler.close()
            _add_file(root, _handler_for(options.options))


def _add_file(logger: logging.Logger, handler: PerProcessFileHandler) -> None:
    paths = {item.path for item in logger.handlers if isinstance(item, PerProcessFileHandler)}
    if handler.path not in paths:
        logger.addHandler(handler)


def _handler_for(options: Any) -> PerProcessFileHandler:
    from tornado.log import LogFormatter

    directory, name = os.path.split(os.path.abspath(options.log_file_prefix))
    backups = options.log_file_num_backups
    max_bytes = every_s = 0
    if options.log_rotate_mode not in {"size", "time"}:
        text = f"log_rotate_mode={options.log_rotate_mode}: must be size or time."
        raise ValueError(text)
    if options.log_rotate_mode == "time":
        every_s = period_s(options.log_rotate_when, options.log_rotate_interval)
    elif backups > 0:  # as in the standard library: without backups, no rotation by size
        max_bytes = options.log_file_max_size
    made = PerProcessFileHandler(
        name.removesuffix(".log"),
        directory=directory,
        max_bytes=max_bytes,
        rotate_every_s=every_s,
        backups=backups,
    )
    made.setFormatter(LogFormatter(color=False))
    return made


def period_s(when: str, interval: int) -> int:
    """Return the seconds of ``log_rotate_when`` and ``log_rotate_interval``.

    Raises: ValueError: Tornado knows no such word.
    """
    word = when.upper()
    unit_s = SECONDS.get("W" if word[:1] == "W" else word)
    if unit_s is None:
        text = f"log_rotate_when={when}: must be S, M, H, D, midnight or W0 to W6."
        raise ValueError(text)
    return unit_s * interval
