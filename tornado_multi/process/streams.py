"""Standard input, output and error, where a process was started without them."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Fill closed standard streams, or a listening socket would get the number of one of them.

    Runs in: commands; script, before it binds.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, mode, number in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
        if getattr(sys, name) is None:  # as Python says that it found the descriptor closed
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
