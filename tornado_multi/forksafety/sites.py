"""Which line of the app is running: a walk up the stack, past libraries.

The line is that of the innermost frame which is neither the standard library nor an installed
library; the outermost library frame below it tells which library the app has called. (The
innermost library frame would name whatever library has patched another.) Runs in: zygote.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tornado_multi.forksafety.findings import Site

if TYPE_CHECKING:
    from types import CodeType, FrameType

MOST_FRAMES = 64
STDLIB = os.path.dirname(os.__file__) + os.sep
OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Places:
    """Tells the app's files from others, and remembers the answer for each."""

    def __init__(self, app_package: str = "") -> None:
        """Take the app's top-level package: it is the app's also where it is installed."""
        self._app_package = app_package
        self._kinds: dict[str, str] = {}

    def kind(self, filename: str) -> str:
        """Return ``app``, ``library`` or ``stdlib``."""
        known = self._kinds.get(filename)
        if known is None:
            known = self._kinds[filename] = self._judge(filename)
        return known

    def _judge(self, filename: str) -> str:
        if filename.startswith("<") or not filename:  # frozen importlib, code made from text
            return "stdlib"
        if filename.startswith(OURS):
            return "library"
        for marker in INSTALLED:
            _, found, rest = filename.rpartition(marker)
            if found:
                root = rest.split(os.sep, 1)[0].removesuffix(".py")
                return "app" if self._app_package and root == self._app_package else "library"
        return "stdlib" if filename.startswith(STDLIB) else "app"

    def find(self, frame: FrameType | None) -> Site | None:
        """Return the line of the app that led to *frame*, or the outermost one of a library."""
        via: CodeType | None = None
        outermost: FrameType | None = None
        for _ in range(MOST_FRAMES):
            if frame is None:
                break
            kind = self.kind(frame.f_code.co_filename)
            if kind == "app":
                return Site(_absolute(frame.f_code.co_filename), frame.f_lineno, _short(via))
            if kind == "library" and not frame.f_code.co_filename.startswith(OURS):
                via, outermost = frame.f_code, frame
            frame = frame.f_back
        if outermost is None:
            return None
        return Site(outermost.f_code.co_filename, outermost.f_lineno)

    def here(self) -> Site | None:
        """Return the line of the app that is running on this thread."""
        return self.find(sys._getframe(1))  # noqa: SLF001 - the documented way without a copy


def _absolute(filename: str) -> str:
    return filename if os.path.isabs(filename) else os.path.abspath(filename)


def _short(code: CodeType | None) -> str | None:
    """Return a library's file as people know it: ``requests/sessions.py``."""
    if code is None:
        return None
    for marker in INSTALLED:
        _, found, rest = code.co_filename.rpartition(marker)
        if found:
            return rest
    return os.path.basename(code.co_filename)
