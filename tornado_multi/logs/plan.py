"""Where the records of this process go, and under which name. Runs in: zygote, worker, plain programs.

A process of a service gets its plan from the settings; a plain program has none.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tornado_multi.logs.rotation import Rotation
from tornado_multi.process.identity import fork_id, generation
from tornado_multi.settings.model import service_name

if TYPE_CHECKING:
    from tornado_multi.settings.model import Settings


@dataclass(frozen=True, slots=True)
class LogPlan:
    """What the settings say of logs."""

    name: str = "app"
    """Of the service: the files of the root logger are named by it."""
    directory: str | None = None
    file: str | None = None
    """One file for all; None of both: standard error."""
    form: Literal["text", "json"] = "text"
    level: str | None = None
    """None: info with files, warning without."""
    rotation: Rotation = field(default_factory=Rotation)
    writes_files: bool = True
    """False: what would go to a file, an app's own included, goes to standard error (``check``)."""

    def has_files(self) -> bool:
        return self.directory is not None or self.file is not None


def plan_of(settings: Settings) -> LogPlan:
    """Return the plan of a service. Its paths are absolute by now."""
    logging = settings.logging
    return LogPlan(
        service_name(settings),
        logging.log_dir,
        logging.log_file,
        logging.log_format,
        logging.log_level,
        Rotation(logging.log_max_bytes, logging.log_rotate_every_s, logging.log_backups),
    )


_NO_PLAN = LogPlan()
_plan = _NO_PLAN


def current_plan() -> LogPlan:
    """Return the plan of this process."""
    return _plan


def set_plan(plan: LogPlan | None) -> None:
    """Set the plan of this process; None: it has none. ``handler.forget_places`` makes it felt."""
    global _plan  # noqa: PLW0603 - a process has one plan, and this is where it is kept
    _plan = plan or _NO_PLAN


def file_path(directory: str, name: str) -> str:
    """Return the path of a log file of this process: ``directory/name.fork_id.log``.

    In a zygote it is ``name.zygote.log``. Elsewhere it is ``name.TASK_ID.log`` in a process that
    Tornado has forked, else ``name.log``: processes that share it do each other no harm.
    """
    return os.path.join(directory, f"{name}{_mark()}.log")


def _mark() -> str:
    place = fork_id()
    if place is None and generation() is not None:
        return ".zygote"
    if place is None:
        process = sys.modules.get("tornado.process")
        place = None if process is None else process.task_id()
    return "" if place is None else f".{place}"
