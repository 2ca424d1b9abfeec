"""Tracebacks as the app's author wants to see them. Pure."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

PACKAGE_DIRECTORY = str(Path(__file__).resolve().parent.parent) + "/"
_LIBRARY_DIRECTORIES = (
    *(sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",
)


def app_traceback(error: BaseException) -> str:
    """Format an error from the app's first frame on: ours and importlib's say nothing to anyone."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()


def app_stack(error: BaseException) -> str:
    """Return where the app was when an error was thrown into it from here: outermost call first."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list([f for f in frames if not _is_ours(f.filename)])).rstrip()


def first_line(error: BaseException) -> str:
    """Say an error in one line, as its traceback does after the frames; sys.exit as such."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r})"
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})" if error.filename else ""
        return f"{type(error).__name__}: {error.msg}{where}"
    # What follows are notes; a message of several lines is in the traceback whole.
    return traceback.format_exception_only(error)[0].strip().splitlines()[0]


def place(error: BaseException) -> str | None:
    """Return file and line of the innermost frame of an app; None: there is none."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        name = frame.f_code.co_filename
        if not (_is_ours(name) or name.startswith(_LIBRARY_DIRECTORIES)):
            return f"{name}:{frame.f_lineno}"
    return None


def is_our_own(error: BaseException) -> bool:
    """Tell whether it was raised in this package."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code.co_filename.startswith(PACKAGE_DIRECTORY)


def _is_ours(filename: str) -> bool:
    return filename.startswith((PACKAGE_DIRECTORY, "<frozen importlib")) or filename.endswith(
        "/importlib/__init__.py"
    )
