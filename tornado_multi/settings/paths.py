"""Directories as the user typed them. Reads the environment and the file system."""

from __future__ import annotations

import contextlib
import os


def typed_directory() -> str:
    """Return the current directory with symbolic links kept as typed, as the shell's $PWD has it.

    A release that is switched by a link is found anew under the same text.
    """
    seen = os.environ.get("PWD", "")
    try:
        here = os.getcwd()
    except OSError:  # it was deleted; where it is wanted, the text will say so
        return seen or "/"
    with contextlib.suppress(OSError):
        if os.path.isabs(seen) and os.path.samefile(seen, here):
            return seen
    return here
