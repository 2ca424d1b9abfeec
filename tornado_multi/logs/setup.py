"""Setting up the logs of a process of the service, and loggers with files of their own.

With files, the root logger has a handler of ours, beside what the app sets up by itself. Without,
only the handler of last resort is ours, which Python uses where nobody has set up anything: so an
app that calls ``basicConfig`` or parses Tornado's options finds what it expects. It stays in use
when ``logging.warning`` and its like would set up Python's own form (``implicit``).
Runs in: zygote, worker; ``get_logger`` in any process.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from tornado_multi.logs import implicit, tornado_options
from tornado_multi.logs.handler import PerProcessFileHandler, StderrHandler, forget_places
from tornado_multi.logs.plan import LogPlan, current_plan, set_plan

if TYPE_CHECKING:
    from tornado_multi.process.account import Account

_named: set[str] = set()
"""Loggers that get a file of their own wherever there is a directory for it."""


class LogPlaceError(ValueError):
    """Log files can't be written where the settings say; a full sentence."""


def make_directory(plan: LogPlan, account: Account | None) -> None:
    """Make the directory of log files if it is missing; it belongs to the app's user.

    Raises: LogPlaceError: the system refused. Runs in: zygote, before it becomes that user.
    """
    directory = _directory_of(plan)
    if directory is None:
        return
    missing = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    try:
        for path in reversed(missing):
            os.mkdir(path)
            if account is not None:
                os.chown(path, account.user_id, account.group_id)
    except FileExistsError:
        return  # another zygote of ours was faster
    except OSError as error:
        text = f"{_option(plan)}: {missing[0]} can't be made: {error.strerror}."
        raise LogPlaceError(text) from error


def check_place(plan: LogPlan) -> None:
    """Find out now, and not with the first record, whether log files can be written.

    Raises: LogPlaceError: they can't. Runs in: zygote, as the app's user.
    """
    directory = _directory_of(plan)
    if directory is None:
        return
    user = os.geteuid()
    if not os.path.isdir(directory):
        raise LogPlaceError(f"{_option(plan)}: {directory} is no directory.")
    if plan.file is not None and os.path.lexists(plan.file):
        if os.path.isdir(plan.file) or not os.access(plan.file, os.W_OK):
            raise LogPlaceError(f"{_option(plan)}: user {user} can't write to that file.")
        if not plan.rotation.is_wanted():
            return
    if not os.access(directory, os.W_OK | os.X_OK):
        text = (
            f"{_option(plan)}: user {user} can't make files in {directory}. Let the directory belong "
            "to the user that the app runs as, or choose another."
        )
        raise LogPlaceError(text)


def begin_logs(plan: LogPlan) -> None:
    """Set up the logs of this process. Runs in: zygote, before the app is imported."""
    set_plan(plan)
    root = logging.getLogger()
    if plan.level is not None:
        root.setLevel(plan.level.upper())
    elif plan.has_files() and root.level == logging.WARNING:  # as Python has set it
        root.setLevel(logging.INFO)
    logging.lastResort = StderrHandler(logging.WARNING if plan.level is None else logging.NOTSET)
    implicit.keep_our_form()
    tornado_options.make_files_per_process()
    renew_logs()


def renew_logs() -> None:
    """Make this process's logs its own: it was forked, or the app may have set up logging.

    Runs in: worker, after the fork and after its factory.
    """
    forget_places()
    tornado_options.mend_inherited_handlers()
    root = logging.getLogger()
    plan = current_plan()
    if plan.has_files() and not _has_handler_of_plan(root):
        root.addHandler(PerProcessFileHandler())
    for name in _named:
        _give_file(name)


def get_logger(name: str, *, directory: str | None = None) -> logging.Logger:
    """Return the logger of this name, with a file of its own in each process.

    With ``--log-dir`` its records go to ``{name}.{fork_id}.log`` there and not to the root logger;
    otherwise it is ``logging.getLogger(name)``. May be called at import: files are opened by the
    first record.

    Args: directory: for programs that are not run by tornado_multi, or another place than
        ``--log-dir``.
    Raises: ValueError: the name is no file name.
    Runs in: any process.
    """
    logger = logging.getLogger(name)
    if directory is not None:
        if not any(isinstance(handler, PerProcessFileHandler) for handler in logger.handlers):
            logger.addHandler(PerProcessFileHandler(name, directory=directory))
            logger.propagate = False
        return logger
    if not name or "/" in name or "\0" in name:
        text = f"name={name!r}: it names a file, so it can't be empty or have a slash."
        raise ValueError(text)
    _named.add(name)
    _give_file(name)
    return logger


def _give_file(name: str) -> None:
    logger = logging.getLogger(name)
    has_one = any(isinstance(handler, PerProcessFileHandler) for handler in logger.handlers)
    if current_plan().directory is not None and not has_one:
        logger.addHandler(PerProcessFileHandler(name))
        logger.propagate = False


def _has_handler_of_plan(logger: logging.Logger) -> bool:
    return any(
        isinstance(handler, PerProcessFileHandler) and handler.is_of_plan
        for handler in logger.handlers
    )


def _directory_of(plan: LogPlan) -> str | None:
    return plan.directory if plan.file is None else os.path.dirname(plan.file)


def _option(plan: LogPlan) -> str:
    return f"log_dir={plan.directory}" if plan.file is None else f"log_file={plan.file}"
