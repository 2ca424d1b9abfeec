"""What goes wrong with a service in a test. Pure."""

from __future__ import annotations

from operator import methodcaller
from typing import Any


class OptionError(ValueError):
    """An option that ``serve`` does not have; one sentence, with the nearest that it has."""


HIDE_OUR_FRAMES = methodcaller("errisinstance", (AssertionError, OptionError))
"""As ``__tracebackhide__`` of a module: pytest shows the line of the test, and our frames only for
errors that we don't raise on purpose."""


class ClusterError(AssertionError):
    """The service did not do what the test needs; the text says what was seen."""


class BootFailed(ClusterError):  # noqa: N818 - reads as what happened in pytest.raises
    """The service ended before it was ready; the text holds its log with the app's traceback."""

    def __init__(self, exit_code: int, log: str) -> None:
        super().__init__(
            f"the service ended with exit code {exit_code} before it was ready; it said:\n{log}"
        )
        self.exit_code = exit_code
        self.log = log


class ReloadFailed(ClusterError):  # noqa: N818 - as BootFailed
    """A reload left everything as it was."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.reason: str = report["reason"] or ""
        """One sentence."""
        self.traceback: str = report["detail"] or ""
        """Of the app, if there is one."""
        super().__init__(f"reload failed: {self.reason}\n{self.traceback}".rstrip())
