"""Watching the app's files, for development: a change is a reload. Runs in: supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEBOUNCE_MS = 100
"""An editor that writes a file in several steps, or a checkout of many files, is one change."""


class WatchError(Exception):
    """Files can't be watched; a full sentence."""


def require_watchfiles() -> None:
    """Check that the extra is installed.

    Raises: WatchError: it is not.
    """
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        text = "--reload-on-change needs the library watchfiles: pip install watchfiles."
        raise WatchError(text) from error


async def watch(directory: str, on_change: Callable[[str], None]) -> None:
    """Call *on_change* with one path for each burst of changes to Python files, until cancelled."""
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(directory, watch_filter=PythonFilter(), debounce=DEBOUNCE_MS):
        on_change(min(path for _, path in changes))
