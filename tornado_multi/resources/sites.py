"""Which line of the app is acting: the first frame that belongs neither to us nor to a library."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from tornado_multi.process.tracebacks import PACKAGE_DIRECTORY

if TYPE_CHECKING:
    from types import FrameType

STANDARD_LIBRARY = os.path.dirname(os.__file__) + "/"
INSTALLED = ("/site-packages/", "/dist-packages/")
MOST_FRAMES = 64


def calling_site() -> str:
    """Return ``file:line`` of the app's innermost frame; of a library's if there is none.

    In a coroutine the frames of those that await it count too. Runs in: any process.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - traceback would read source files
    in_library = None
    for _ in range(MOST_FRAMES):
        if frame is None:
            break
        origin = _origin(frame.f_code.co_filename)
        if origin == "app":
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if origin == "library" and in_library is None:
            in_library = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return in_library or "an unknown line"


@lru_cache(maxsize=4096)
def _origin(filename: str) -> str:
    if filename.startswith((PACKAGE_DIRECTORY, "<frozen ")):
        return "ours"
    if any(part in filename for part in INSTALLED):
        return "library"
    return "python" if filename.startswith(STANDARD_LIBRARY) else "app"
