"""What the user has declared safe to share: ``fork_safe`` blocks, and lines named in the settings.

Runs in: zygote; ``fork_safe`` in any process, where it may have no effect.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
from typing import TYPE_CHECKING

from tornado_multi.forksafety.findings import Finding, place_of, to_plain
from tornado_multi.settings.allowances import split_allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_reasons: list[str] = []
_watchers: list[Callable[[str], contextlib.AbstractContextManager[None]]] = []


@contextlib.contextmanager
def fork_safe(reason: str) -> Iterator[None]:
    """Declare that what is opened in this block may be shared by all workers.

    It is no finding of the audit then (it is listed with *reason*), and workers keep it as it is.
    Args: reason: a sentence for whoever reads the audit; it must not be empty.
    Raises: ValueError: no reason is given.
    Runs in: any process; it has an effect while the app is imported.
    """
    if not reason.strip():
        raise ValueError("fork_safe needs a reason: say why sharing this is safe.")
    with contextlib.ExitStack() as stack:
        for watch in _watchers:
            stack.enter_context(watch(reason))
        _reasons.append(reason)
        stack.callback(_reasons.pop)
        yield


def current_reason() -> str | None:
    """Return the reason of the innermost ``fork_safe`` block that is running."""
    return _reasons[-1] if _reasons else None


def watch_blocks(watch: Callable[[str], contextlib.AbstractContextManager[None]]) -> None:
    """Have *watch* entered with the reason round every block. Runs in: zygote, once."""
    _watchers.append(watch)


def forget_watchers() -> None:
    """Runs in: worker, after the fork."""
    _watchers.clear()


@dataclasses.dataclass(frozen=True)
class Allowance:
    """One entry of ``fork_safety_allow``."""

    pattern: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Tell whether the pattern names the finding's line, its file, or its kind and text."""
        place = place_of(to_plain(finding))
        file = place.rpartition(":")[0]
        names = [f"{finding.kind}:{finding.what}", finding.kind]
        if any(fnmatch.fnmatchcase(name, self.pattern) for name in names):
            return True
        return bool(place) and any(
            fnmatch.fnmatchcase(path, pattern)
            for path in (place, file)
            for pattern in (self.pattern, f"*/{self.pattern}")
        )


def parse_allowance(text: str) -> Allowance:
    """Read ``shop/settings.py:31 the poller only logs``.

    Raises: ValueError: as ``split_allowance``.
    """
    return Allowance(*split_allowance(text))


def apply_allowances(
    findings: Iterable[Finding], allowances: Iterable[Allowance]
) -> tuple[list[Finding], list[Allowance]]:
    """Return the findings, those that are allowed marked so, and the allowances that met none."""
    unused = list(allowances)
    every = tuple(unused)
    judged = []
    for finding in findings:
        allowance = next((item for item in every if item.covers(finding)), None)
        if allowance is not None:
            if allowance in unused:
                unused.remove(allowance)
            finding = finding.allow(allowance.reason)  # noqa: PLW2901 - the same finding, judged
        judged.append(finding)
    return judged, unused


def say_unused(allowance: Allowance) -> str:
    """Say that an entry met no finding, and what to do about it."""
    return (
        f"fork_safety_allow: no finding matches {allowance.pattern!r}. Remove the entry, or mend its "
        "first word: tornado-multi check shows the line and the kind of each finding."
    )
