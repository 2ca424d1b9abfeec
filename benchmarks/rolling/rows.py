"""The rows as data: how instances are replaced, behind which nginx settings. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

INSTANCES = 3
MORE_INSTANCES = 5
"""What the row of scale goes up to."""
KILLED = 1
"""The fork_id that the rows of kill -9 are about: neither the first nor the last."""


class Flavour(StrEnum):
    """What the instances are, and what TERM does to them."""

    NAIVE = "naive"
    """A plain Tornado process without a signal handler: TERM ends it at once."""
    GRACEFUL = "graceful"
    """It stops accepting, answers with Connection: close, finishes, keeps idle connections 0.5 s."""
    ABRUPT = "graceful, idle cut"
    """As graceful, but idle connections are closed at once."""
    OURS = "tornado_multi"


class Procedure(StrEnum):
    """How the instances are replaced, one after the other."""

    STOP_START = "stop, start"
    DOWN_STOP_START_UP = "down, reload, stop, start, up, reload"
    DOWN_NEXT_IN_ONE = "up and next down in one reload, stop, start"
    DOWN_NOT_AWAITED = "down, reload not awaited, stop, start"
    START_STOP = "start, then stop the old one"
    RELOAD = "reload"
    RESTART_EACH = "restart of each"
    SCALE = f"scale {INSTANCES} to {MORE_INSTANCES} to {INSTANCES}"
    KILL = "kill -9 of one"


@dataclass(frozen=True)
class Upstream:
    """What nginx is told of the instances."""

    failures: str = ""
    """Of each server: ``max_fails=0``; empty: nginx's default, one failure, out for 10 s."""
    keepalive: int = 16
    """Idle connections that are kept; 0: a connection for each request, in HTTP/1.0."""
    next_upstream: str = "error"
    """When another server is tried."""


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    key: str
    flavour: Flavour
    procedure: Procedure
    upstream: Upstream
    method: str = "POST"
    is_held: bool = False
    """The listeners belong to somebody who outlives the instances."""
    is_unix: bool = False
    note: str = ""

    @property
    def is_ours(self) -> bool:
        return self.flavour is Flavour.OURS

    def title(self) -> str:
        """Return what is done, for the table."""
        parts: list[str] = [self.flavour] if not self.is_ours else [f"**{self.flavour}**"]
        if self.is_held and not self.is_ours:
            parts.append("listener held")
        if self.is_unix:
            parts.append("unix sockets")
        return f"{', '.join(parts)}: {self.procedure}{f'; {self.note}' if self.note else ''}"


DEFAULT = Upstream()
NEVER_OUT = Upstream("max_fails=0")
_OFF = Upstream(next_upstream="off")
_NAIVE, _GRACEFUL, _OURS = Flavour.NAIVE, Flavour.GRACEFUL, Flavour.OURS
_STOP, _OVERLAP = Procedure.STOP_START, Procedure.START_STOP
_DOWN, _HASTY = Procedure.DOWN_STOP_START_UP, Procedure.DOWN_NOT_AWAITED
_TORNADOS_GUIDE = Upstream(keepalive=0)
_AGAIN_ANYWAY = Upstream("max_fails=0", next_upstream="error timeout non_idempotent")

ROWS = (
    Row("1", _NAIVE, _STOP, _OFF, "GET"),
    Row("2", _NAIVE, _STOP, _TORNADOS_GUIDE, "GET", note="nginx as in Tornado's guide"),
    Row("3", _NAIVE, _STOP, NEVER_OUT, "GET"),
    Row("4", _NAIVE, _STOP, NEVER_OUT),
    Row("5", _GRACEFUL, _STOP, DEFAULT),
    Row("18", _GRACEFUL, _STOP, Upstream("max_fails=1 fail_timeout=1s")),
    Row("6", _GRACEFUL, _STOP, NEVER_OUT),
    Row("7", _GRACEFUL, _STOP, Upstream("max_fails=0", keepalive=0)),
    Row("17", Flavour.ABRUPT, _STOP, NEVER_OUT),
    Row("16", _NAIVE, _STOP, _AGAIN_ANYWAY),
    Row("8", _GRACEFUL, _DOWN, DEFAULT),
    Row("8b", _GRACEFUL, Procedure.DOWN_NEXT_IN_ONE, DEFAULT),
    Row("9", _NAIVE, _DOWN, DEFAULT),
    Row("10", _GRACEFUL, _HASTY, NEVER_OUT),
    Row("11", _NAIVE, _HASTY, DEFAULT),
    Row("12", _GRACEFUL, _STOP, NEVER_OUT, is_held=True, note="as a systemd socket gives"),
    Row("13", _GRACEFUL, _OVERLAP, NEVER_OUT, is_held=True),
    Row("14", _GRACEFUL, _OVERLAP, Upstream("max_fails=0", keepalive=0), is_held=True),
    Row("15", _GRACEFUL, _OVERLAP, _OFF, is_held=True),
    Row("U1", _GRACEFUL, _STOP, NEVER_OUT, is_unix=True),
    Row("U2", _GRACEFUL, _DOWN, DEFAULT, is_unix=True),
    Row("O1", _OURS, Procedure.RELOAD, NEVER_OUT, "GET"),
    Row("O2", _OURS, Procedure.RELOAD, NEVER_OUT),
    Row("O3", _OURS, Procedure.RELOAD, _OFF),
    Row("O4", _OURS, Procedure.RELOAD, NEVER_OUT, is_unix=True),
    Row("O5", _OURS, Procedure.RESTART_EACH, NEVER_OUT),
    Row("O6", _OURS, Procedure.SCALE, NEVER_OUT, note="nginx reloads awaited"),
    Row("O7", _OURS, Procedure.KILL, NEVER_OUT, "GET"),
    Row("O8", _OURS, Procedure.KILL, NEVER_OUT),
)
"""In the order of the table: rows that belong together stand together."""
