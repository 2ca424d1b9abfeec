"""Ignores the end of its children, from the import on."""

import signal

from hello import make_app

__all__ = ["make_app"]

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
