"""Findings of the audit: what is inherited, how bad that is, which line made it. No I/O.

Inside, five severities (they decide nothing but the order and the word); users see two words and
a third for what needs no act: error, warning, info.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.fates import BY_LIBRARY, BY_RESOURCE, OF_KINDS, SHARED, UNHEALED, Fate

if TYPE_CHECKING:
    from collections.abc import Collection

WIDTH = 100
"""Columns of a printed finding, unless its text alone is longer."""


class Severity(enum.IntEnum):
    """How much harm an inherited thing does; lower is worse."""

    CRITICAL = 0
    """Replies go to the wrong process, or data is destroyed."""
    HIGH = 1
    """Workers hang, or lose what they write."""
    MEDIUM = 2
    """Harm if more than one process uses it."""
    HANDLED = 3
    """Would do harm, but the library or this toolkit sees to it."""
    INFO = 4

    @property
    def word(self) -> str:
        """Return what users are told: error, warning or info."""
        return WORDS[self]


WORDS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.HANDLED: "info",
    Severity.INFO: "info",
}


@dataclass(frozen=True)
class Site:
    """The line that made something."""

    file: str
    line: int
    via: str | None = None
    """The file of the library that this line has called, if it was not made there itself."""
    allowed: str | None = None
    """The reason given to ``fork_safe``, if the line ran in such a block."""
    resource: str | None = None
    """The per-process resource whose factory was running."""


@dataclass(frozen=True)
class Finding:
    """One inherited thing."""

    kind: str
    """A key of ``KINDS``."""
    what: str
    """It in a few words: ``connected socket 127.0.0.1:41822 -> 10.0.0.5:20880``."""
    severity: Severity
    harm: str
    mend: str
    site: Site | None = None
    library: str | None = None
    allowed: str | None = None
    """Why it is no finding: the user's reason. Its severity is INFO then."""
    fate: Fate = UNHEALED
    """What the workers of ``serve`` make of it."""

    @property
    def word(self) -> str:
        return self.severity.word

    def under(self, quarantine: Collection[str]) -> Finding:
        """Return it with the fate that it has with these kinds of quarantine."""
        return replace(self, fate=self.fate.under(quarantine))

    def allow(self, reason: str) -> Finding:
        """Return it as allowed by the user: it is shared."""
        return replace(self, severity=Severity.INFO, allowed=reason, fate=SHARED)


@dataclass(frozen=True)
class Kind:
    """What is true of all findings of a kind."""

    severity: Severity
    harm: str
    mend: str


PER_PROCESS = "create it on first use in each process, with @tornado_multi.per_process."
KINDS = {
    "connected-socket": Kind(
        Severity.CRITICAL,
        "All workers would read from this one connection; replies would go to the wrong request.",
        PER_PROCESS,
    ),
    "tls-socket": Kind(
        Severity.CRITICAL,
        "Workers would share one cipher state; the first use in two of them ends the connection.",
        PER_PROCESS,
    ),
    "database-connection": Kind(
        Severity.CRITICAL,
        "Workers would talk over one another on one database session: answers would get mixed up, "
        "and a close in one would end it for all.",
        PER_PROCESS,
    ),
    "connection-pool": Kind(
        Severity.CRITICAL,
        "Workers would take the same open connections out of the pool; replies would get mixed up.",
        "connect on first use in each process, or make the pool with @tornado_multi.per_process.",
    ),
    "sqlite": Kind(
        Severity.CRITICAL,
        "A SQLite handle must not be carried through a fork: locks get lost and the file can be "
        "destroyed.",
        "open it in each process, with @tornado_multi.per_process.",
    ),
    "epoll": Kind(
        Severity.CRITICAL,
        "Workers would change one another's list of watched descriptors.",
        "create it in the worker, in after_fork or on first use.",
    ),
    "event-loop": Kind(
        Severity.HIGH,
        "No worker runs this loop: what is scheduled on it never happens, and closing it disturbs "
        "the process that made it.",
        "use the loop that runs: asyncio.get_running_loop() or IOLoop.current() in a handler.",
    ),
    "thread": Kind(
        Severity.CRITICAL,
        "It will not exist in the workers.",
        "start it in after_fork, or on first use with @tornado_multi.per_process.",
    ),
    "native-thread": Kind(
        Severity.HIGH,
        "A library runs it outside of Python; it will not exist in the workers, and a lock that it "
        "holds at the fork stays locked.",
        "use the library in the workers only, from after_fork on.",
    ),
    "executor": Kind(
        Severity.HIGH,
        "Its threads will not exist in the workers: what is submitted there never runs.",
        "create it in each process, with @tornado_multi.per_process.",
    ),
    "held-lock": Kind(
        Severity.HIGH,
        "A thread holds it; in the workers nobody is left to release it.",
        "start the thread in after_fork, or release the lock before the import ends.",
    ),
    "child-process": Kind(
        Severity.HIGH,
        "It is a child of the process that loads the app: workers can't wait for it, and each "
        "reload starts another one.",
        "start it in a worker, or run it as a service of its own.",
    ),
    "temporary-directory": Kind(
        Severity.HIGH,
        "Whoever ends first would delete it for the others.",
        "create it in each process, with @tornado_multi.per_process.",
    ),
    "rotating-log": Kind(
        Severity.HIGH,
        "Workers would rename the file under one another; lines are lost at each rotation.",
        "use tornado_multi.get_logger and --log-dir, or tornado_multi.PerProcessFileHandler.",
    ),
    "truncated-log": Kind(
        Severity.HIGH,
        "Each worker empties the file at its first line, and all write over one another.",
        "open it in mode 'a', or use tornado_multi.PerProcessFileHandler.",
    ),
    "log-file": Kind(
        Severity.INFO,
        "Lines of all workers go to this file; each stays whole.",
        "nothing, or tornado_multi.PerProcessFileHandler for one file per worker.",
    ),
    "written-file": Kind(
        Severity.MEDIUM,
        "Workers share its position, and what is in the buffer at the fork.",
        "open it in each process, or in append mode.",
    ),
    "read-file": Kind(
        Severity.MEDIUM,
        "Workers share its position: reads of one move the others.",
        "open it where it is read, or read it whole at import.",
    ),
    "file": Kind(Severity.INFO, "It is shared.", "nothing."),
    "pipe": Kind(
        Severity.MEDIUM,
        "Whichever worker reads first gets the bytes.",
        "create it in the process that uses it.",
    ),
    "eventfd": Kind(
        Severity.MEDIUM,
        "Whichever worker reads first takes the event.",
        "create it in the process that uses it.",
    ),
    "socket-pair": Kind(
        Severity.MEDIUM,
        "Whichever worker reads first gets the bytes.",
        "create it in the process that uses it.",
    ),
    "udp-socket": Kind(
        Severity.MEDIUM,
        "Answers go to whichever worker reads first.",
        "create it in each process, with @tornado_multi.per_process.",
    ),
    "datagram-socket": Kind(Severity.INFO, "Each datagram stays whole.", "nothing."),
    "listening-socket": Kind(Severity.INFO, "Workers may share it.", "nothing."),
    "wakeup-fd": Kind(
        Severity.CRITICAL,
        "A signal for one process would wake another.",
        "install signal handlers in the worker, on its loop.",
    ),
    "shared-map": Kind(
        Severity.MEDIUM,
        "All workers write into the same memory.",
        "if that is wanted, say so with tornado_multi.fork_safe.",
    ),
    "seeded-random": Kind(
        Severity.MEDIUM,
        "It was given a seed: all workers would draw the same numbers.",
        "make it in each process, or leave the seed out.",
    ),
    "random": Kind(
        Severity.HANDLED,
        "All workers would draw the same numbers; it gets a new seed in each.",
        "nothing.",
    ),
    "descriptor": Kind(
        Severity.MEDIUM,
        "It is shared with all workers.",
        "create it in the process that uses it.",
    ),
    "not-audited": Kind(
        Severity.MEDIUM,
        "Whether workers would share anything there is not known.",
        "mend the class that raises, or create the object in the workers only.",
    ),
}


def make_finding(
    kind: str,
    what: str,
    site: Site | None = None,
    *,
    library: str | None = None,
    severity: Severity | None = None,
    harm: str | None = None,
    mend: str | None = None,
    fate: Fate | None = None,
) -> Finding:
    """Return a finding; what is not given is as for all of its kind."""
    known = KINDS[kind]
    severity = known.severity if severity is None else severity
    fate = _usual_fate(kind, severity) if fate is None else fate
    allowed = None
    if site is not None and site.allowed is not None:
        severity, allowed, fate = Severity.INFO, site.allowed, SHARED
    elif site is not None and site.resource is not None:
        severity = min(Severity.INFO, max(severity, Severity.HANDLED))
        harm = f"The resource {site.resource} was used at import; each worker makes its own."
        mend = "nothing."
        fate = BY_RESOURCE
    return Finding(
        kind,
        printable(what),
        severity,
        printable(harm or known.harm),
        printable(mend or known.mend),
        site,
        library,
        allowed,
        fate,
    )


def _usual_fate(kind: str, severity: Severity) -> Fate:
    if severity is Severity.INFO:
        return SHARED
    return OF_KINDS.get(kind, BY_LIBRARY if severity is Severity.HANDLED else UNHEALED)


def printable(text: str) -> str:
    r"""Return *text* as one line: a name or a path may hold line ends, escapes, undecodable bytes.

    What can't be printed becomes ``\n``, ``\x1b``, ``\udcff``.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


@dataclass(frozen=True)
class Report:
    """What one audit found, worst first."""

    findings: tuple[Finding, ...]
    duration_s: float
    notes: tuple[str, ...] = ()
    """What the user should know of the audit itself, such as an allowance that nothing matched."""

    def of(self, word: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.word == word]

    def summary(self) -> str:
        """Return ``clean`` or ``2 errors, 1 warning``."""
        return summary(len(self.of("error")), len(self.of("warning")))


def summary(errors: int, warnings: int) -> str:
    """Say how many there are: ``clean``, ``1 error``, ``2 errors, 1 warning``."""
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return ", ".join(parts) or "clean"


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return them worst first, then by file and line."""

    def key(finding: Finding) -> tuple[int, str, int, str]:
        site = finding.site
        place = ("~", 0) if site is None else (site.file, site.line)
        return (int(finding.severity), *place, finding.what)

    return tuple(sorted(findings, key=key))


def to_plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON-ready data."""
    record = asdict(finding)
    site = record.pop("site") or {}
    del record["fate"]
    allowed = finding.allowed
    return {
        "word": finding.word,
        **record,
        "allowed": None if allowed is None else printable(allowed),
        "severity": finding.severity.name.lower(),
        "fate": finding.fate.state,
        "in_workers": finding.fate.text,
        "file": printable(site["file"]) if site else None,
        "line": site.get("line"),
        "via": site.get("via"),
    }


def place_of(plain: dict[str, Any]) -> str:
    """Return ``shop/accounts.py:14``, or nothing if no line is known."""
    return f"{plain['file']}:{plain['line']}" if plain["file"] else ""


def render(plain: dict[str, Any], directory: str = "") -> str:
    """Return a finding as printed: what and where, harm, fate, mend, kind. Several lines.

    What needs no act is told in short. The kind is there to be copied into the settings.

    Args: plain: what ``to_plain`` gave. directory: the app's; files below it are shown relative.
    """
    lines = [headline(plain, directory)]
    if plain["allowed"] is not None:
        lines.append(f"         Allowed: {plain['allowed']}")
        return "\n".join(lines)
    lines.append(f"         {plain['harm']}")
    needs_act = plain["word"] != "info"
    if needs_act:
        lines.append(f"         In each worker: {plain['in_workers']}")
    if plain["mend"] != "nothing.":
        lines.append(f"         Mend: {plain['mend']}")
    if needs_act:
        lines.append(f"         Kind: {plain['kind']}")
    return "\n".join(lines)


def headline(plain: dict[str, Any], directory: str = "") -> str:
    """Return what it is and where it was made, in one line."""
    place = shorten(place_of(plain), directory)
    via = f" (through {plain['via']})" if plain["via"] else ""
    head = f"{plain['word']:<8} {plain['what']}{via}"
    gap = max(2, WIDTH - len(head) - len(place))
    return f"{head}{' ' * gap}{place}".rstrip()


def one_line(plain: dict[str, Any], directory: str = "") -> str:
    """Return a finding as one sentence for a log."""
    place = shorten(place_of(plain), directory)
    where = f", made at {place}" if place else ""
    return (
        f"Fork safety: {plain['what']}{where}. {plain['harm']} In each worker: "
        f"{plain['in_workers']} Mend: {plain['mend']}"
    )


def shorten(place: str, directory: str) -> str:
    """Return a path below *directory* relative to it."""
    prefix = directory.rstrip("/") + "/"
    return place.removeprefix(prefix) if directory else place
