"""The zygote's dealings with fork safety: record from the start, judge before the first fork.

Runs in: zygote.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tornado_multi.forksafety.audit import Audit
from tornado_multi.forksafety.findings import render, to_plain
from tornado_multi.forksafety.heritage import Heritage
from tornado_multi.forksafety.inheritance import Inheritance
from tornado_multi.forksafety.recorder import Recorder
from tornado_multi.forksafety.suppression import parse_allowance
from tornado_multi.process.messages import Audited, Notice
from tornado_multi.resources.creation import creating

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tornado_multi.forksafety.findings import Report
    from tornado_multi.process.messages import Message
    from tornado_multi.settings.model import SafetySettings

MOST_FINDINGS = 60
"""In a message, which has room for about a hundred."""
MOST_TEXT = 300
"""Characters of one text in a message."""
MOST_BYTES = 56 * 1024
"""Of all findings in a message; a text may have four bytes for each character."""


class UnsafeError(Exception):
    """The app is not fork-safe, and the settings say that it is not to be served then."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Watch:
    """What one zygote makes of its app."""

    def __init__(self, settings: SafetySettings, app: str) -> None:
        """Begin to record, unless it is switched off.

        Args: app: ``module:attr``, or the name of a script.
        """
        self._settings = settings
        self._recorder: Recorder | None = None
        self.inheritance = Inheritance(Heritage(), None, ())
        if settings.fork_safety != "off":
            package = app.partition(":")[0].partition(".")[0] if ":" in app else ""
            self._recorder = Recorder(package, creating)
            self._recorder.start()

    def judge(self, own_fds: Collection[int], directory: str) -> Iterator[Message]:
        """Audit; return what the supervisor is to hear.

        Args: own_fds: descriptors of the toolkit. directory: the app's, for messages.
        Raises: UnsafeError: there are errors, and the settings say strict.
        """
        if self._recorder is None:
            return
        allowances = [parse_allowance(text) for text in self._settings.fork_safety_allow]
        kinds = self._settings.fork_safety_quarantine
        audit = Audit(self._recorder, own_fds, allowances, kinds)
        report = audit.run()
        self.inheritance = Inheritance(audit.heritage, self._recorder, kinds)
        self._recorder.forget()
        if self._settings.fork_safety == "strict" and report.of("error"):
            raise _refusal(report, directory)
        yield _message(report, directory)
        for note in report.notes:
            yield Notice(note, note)

    def stop(self) -> None:
        """Stop recording: this process is no zygote. Runs in: the supervisor of a script."""
        if self._recorder is not None:
            self._recorder.stop()


def _refusal(report: Report, directory: str) -> UnsafeError:
    errors = report.of("error")
    reason = (
        f"The app is not fork-safe ({report.summary()}), and with fork_safety=strict it is not "
        "served. Mend each error, or allow it with a reason (fork_safety_allow)."
    )
    return UnsafeError(reason, "\n".join(render(to_plain(item), directory) for item in errors))


def _message(report: Report, directory: str) -> Audited:
    told = report.findings[:MOST_FINDINGS]
    plain = tuple(
        {
            key: value[:MOST_TEXT] if isinstance(value, str) else value
            for key, value in to_plain(finding).items()
        }
        for finding in told
    )
    while len(json.dumps(plain, ensure_ascii=False).encode()) > MOST_BYTES:
        plain = plain[: len(plain) * 3 // 4]  # the worst come first
    return Audited(
        errors=len(report.of("error")),
        warnings=len(report.of("warning")),
        findings=plain,
        omitted=len(report.findings) - len(plain),
        duration_s=report.duration_s,
        directory=directory,
    )
