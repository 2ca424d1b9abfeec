"""``logging.warning("...")`` and its like, in an app that has set up no logging.

These functions of the module set up Python's own form where the root logger has no handler: one
such call, maybe in a library or at import, and all records of the process would have it from then
on, the later ones of loggers included. Here they set up nothing, so our handler of last resort goes
on, and whoever sets up logging himself finds an empty root logger as if nothing had been logged.

Rejected: a handler of ours on the root logger from the start. ``basicConfig``, Tornado's
``enable_pretty_logging`` and many an app do nothing if they find one there, and we would have to
guess who wants to have it away.
Source: logging/__init__.py, ``warning`` to ``log``, which call ``basicConfig()`` by its global name.
Runs in: zygote, worker.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from tornado_multi.logs.handler import StderrHandler


def keep_our_form() -> None:
    """Let only those who mean it set up Python's form, in this process and those that it forks."""
    original = logging.basicConfig
    if getattr(original, "is_ours", False):
        return

    def basicConfig(**settings: Any) -> None:  # noqa: N802 - the name that tracebacks show
        last = logging.lastResort
        by_logging = sys._getframe(1).f_globals is vars(logging)  # noqa: SLF001 - who has called
        if by_logging and not settings and isinstance(last, StderrHandler):
            # Python's handler would show whatever passes the loggers' own levels.
            last.setLevel(logging.NOTSET)
            return
        original(**settings)

    basicConfig.__doc__ = original.__doc__
    basicConfig.is_ours = True  # type: ignore[attr-defined]  # read above
    logging.basicConfig = basicConfig
