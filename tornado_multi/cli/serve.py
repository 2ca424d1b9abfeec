"""``serve``: hand the settings to the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.settings.model import Settings


def serve(
    settings: Settings, app_arguments: tuple[str, ...] | None, reread: Callable[[], Settings]
) -> int:
    """Run the service in this process until it ends. Returns the exit code."""
    from tornado_multi.supervisor.start import start

    return start(settings, app_arguments, reread)
