"""Event histories for ``supervisor.decide``: literal data in, state and effects out."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado_multi.process.linux import ProcessEnd
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import initial_state, step
from tornado_multi.supervisor.state import Limits, State

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = Limits(boot_timeout_s=60.0, drain_timeout_s=30.0, kill_grace_s=2.0)

LEFT = ProcessEnd(exit_code=0)
KILLED = ProcessEnd(signal_number=signal.SIGKILL)
TERMINATED = ProcessEnd(signal_number=signal.SIGTERM)
CRASHED = ProcessEnd(signal_number=signal.SIGSEGV)
FAILED = ProcessEnd(exit_code=1)
BOOT_FAILED = ProcessEnd(exit_code=3)

TERM = ev.StopAsked(int(signal.SIGTERM), hurried=False)
INT = ev.StopAsked(int(signal.SIGINT), hurried=True)
COMMAND = ev.StopAsked(None, hurried=False)

NO_ACTS = (
    ev.Say,
    ev.RefuseConnections,
    ev.CloseListeners,
    ev.RestoreSettings,
    ev.SettleListeners,
)

Moment = tuple[float, ev.Event]
"""When (monotonic seconds) and what."""


@dataclass(slots=True)
class Replay:
    """What a history led to."""

    state: State
    effects: list[ev.Effect] = field(default_factory=list)
    """Of the last event."""
    all_effects: list[ev.Effect] = field(default_factory=list)

    @property
    def acts(self) -> list[ev.Effect]:
        """The last event's effects on processes: without what is said, and without listeners."""
        return [effect for effect in self.effects if not isinstance(effect, NO_ACTS)]

    @property
    def said(self) -> list[str]:
        """What the last event made the supervisor say: ``level who: text``."""
        return [
            f"{effect.level} {effect.who}: {effect.text}"
            for effect in self.effects
            if isinstance(effect, ev.Say)
        ]

    def then(self, *moments: Moment) -> Replay:
        """Let more happen, to the same state."""
        for at_s, event in moments:
            self.effects = step(self.state, event, at_s)
            self.all_effects += self.effects
        return self


def replay(history: Sequence[Moment], *, workers: int = 1, limits: Limits = LIMITS) -> Replay:
    """Return what *history* leads to, from a service that has not begun."""
    return Replay(initial_state(workers, limits)).then(*history)


def importing(*, at_s: float = 0.0) -> list[Moment]:
    """The history of a service up to its first import."""
    return [(at_s, ev.Started()), (at_s, ev.ZygoteSpawned(1, 101))]


def loaded(*, at_s: float = 0.0) -> list[Moment]:
    """The history of a service up to the end of its first import; forks have been asked for."""
    return [*importing(at_s=at_s), (at_s, ev.ZygoteLoaded(1, 0.25))]


def serving(workers: int = 1, *, at_s: float = 0.0) -> list[Moment]:
    """The history of a service up to the moment when all workers (row = fork_id) are ready."""
    rows = range(workers)
    return [
        *loaded(at_s=at_s),
        *[(at_s, ev.WorkerForked(row, pid_of_worker(row))) for row in rows],
        *[(at_s, ev.WorkerReady(row)) for row in rows],
    ]


def started_worker(row: int, *, at_s: float) -> list[Moment]:
    """A fork that was asked for has succeeded, and its worker is ready."""
    return [(at_s, ev.WorkerForked(row, pid_of_worker(row))), (at_s, ev.WorkerReady(row))]


def pid_of_worker(row: int) -> int:
    return 200 + row
