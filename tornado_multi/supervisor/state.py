"""Everything the supervisor knows, as one plain-data value. No I/O, no handles.

Desired (``desired_workers``, ``phase``) is kept apart from observed (``zygotes``, ``workers``).
The value can be written as JSON and read back; file descriptors live beside it, in ``run``, under
the keys used here (generation, row), so that a successor process can be given both.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

KEPT_SERVED = 4
"""More than a reload that fails, and a zygote lost meanwhile, can make unwanted again."""


class Phase(StrEnum):
    """What the service as a whole is doing."""

    BOOTING = "booting"
    """Not every fork_id has been ready once. A boot failure ends the service."""
    SERVING = "serving"
    STOPPING = "stopping"
    FINISHED = "finished"
    """No child is left; ``exit_code`` is final."""


class ZygoteState(StrEnum):
    IMPORTING = "importing"
    READY = "ready"


class WorkerState(StrEnum):
    """States of a worker as status shows them. Without a process: BACKOFF, STOPPED."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BACKOFF = "backoff"
    STOPPED = "stopped"


@dataclass(slots=True)
class Zygote:
    """One zygote process, from its spawn to the collection of its end."""

    generation: int
    state: ZygoteState = ZygoteState.IMPORTING
    pid: int | None = None
    """None until the process is spawned."""
    deadline_s: float | None = None
    """Monotonic. When importing must have ended; None once it has."""
    ready_s: float | None = None
    import_s: float | None = None
    kill_reason: str | None = None
    """Why we sent KILL, if we did."""
    released: bool = False
    """It was told to leave: its end is no loss."""
    failure: str | None = None
    """Why it could not load the app, if it said so before it ended."""
    hooks: list[str] = field(default_factory=list)
    """The hooks that the app has."""


@dataclass(slots=True)
class Worker:
    """One worker process, from the Fork command to the collection of its end."""

    row: int
    fork_id: int
    generation: int
    started_s: float
    deadline_s: float | None
    """Monotonic. Killed when it passes: not ready in time, or not gone in time."""
    state: WorkerState = WorkerState.STARTING
    pid: int | None = None
    """None until the zygote has announced it."""
    ready_s: float | None = None
    ready_is_unsaid: bool = False
    """Ready before it had a pid: the line about it is due."""
    outdated: bool = False
    """To be replaced though nothing is wrong with its generation (the restart command)."""
    leave_at_s: float | None = None
    """Monotonic. When it will be told to leave, for its place is gone; its ready path says so."""
    leaving: bool = False
    """It was told to leave (by us or by a TERM from outside): its end is no crash."""
    fork_sent: bool = False
    """Its Fork command has reached the zygote."""
    is_ending: bool = False
    """It said that it serves no more."""
    kill_reason: str | None = None
    """Why we sent KILL, if we did."""
    failure: str | None = None
    """What the worker said of its failed boot."""
    error: str | None = None
    """What has ended it, by its own account, if nobody had asked it to end."""
    recycle_reason: str | None = None
    """Why it asks for a successor, if it does."""
    silent_since_s: float | None = None
    """Monotonic. When its loop was found not to run; None: it runs."""
    is_stopped: bool = False
    """Its loop does not run because the process is stopped (SIGSTOP, a debugger)."""
    reported_s: float | None = None
    """Monotonic. When its stacks were last put into the log."""
    reported_routes: list[str | None] = field(default_factory=list)
    """Where it was then, and the times before."""
    is_aborted: bool = False
    """It was sent ABRT, and is killed at its deadline."""


@dataclass(slots=True)
class Place:
    """What outlives the workers of one fork_id."""

    fork_id: int
    restarts: int = 0
    failures: int = 0
    """Deaths in a row without healthy time between; sets the backoff."""
    kills: int = 0
    """Deaths by KILL or TERM from outside since ``kills_since_s``."""
    kills_since_s: float = 0.0
    retry_at_s: float | None = None
    """Monotonic. When the next worker is due; None = as soon as possible."""
    put_off_s: float | None = None
    """Monotonic. Since when it has waited for the budget of respawns; None: it doesn't."""
    last_end: str | None = None
    last_end_s: float | None = None
    """Monotonic."""
    recycled: int = 0
    """Workers that left because they had reached a limit of theirs."""
    last_recycle: str | None = None
    """Which limit that was, the last time."""
    past_requests: int = 0
    """Counted by workers that have ended."""
    is_finished: bool = False
    """Script mode: its worker's main program returned; no other one follows."""


@dataclass(slots=True)
class HookCall:
    """One call of a hook in a process of its own, from the command to the collection of its end."""

    number: int
    hook: str
    generation: int
    deadline_s: float | None
    pid: int | None = None
    """None until the zygote has announced it."""
    kill_reason: str | None = None
    has_failed: bool = False
    """It said itself how it failed."""


@dataclass(slots=True)
class Failure:
    """Why the first start, or a reload, came to nothing."""

    reason: str
    detail: str
    death: dict[str, Any] | None = None
    """What is known of the death of the worker that is to blame, if one is."""


class ReloadStep(StrEnum):
    """The steps of a reload, in order; a failure before DRAINING leads to ROLLING_BACK."""

    READING = "reading settings"
    IMPORTING = "importing"
    CANARY = "canary"
    """One worker of the new generation boots beside the old ones."""
    ROLLING = "rolling"
    """Old workers leave as their successors get ready."""
    DRAINING = "draining"
    """Committed: every fork_id has a ready new worker; old ones finish what they have."""
    ROLLING_BACK = "rolling back"


@dataclass(slots=True)
class Reload:
    """The reload under way."""

    number: int
    started_s: float
    step: ReloadStep
    base_generation: int
    """Generations above this one belong to the reload."""
    generation: int | None = None
    desired_workers: int | None = None
    """A number of workers that is new in the settings (script mode: in the script): counts from the
    canary on."""
    asked_workers: int | None = None
    """Script mode: what the new script gives ``fork_processes``."""
    old_desired_workers: int | None = None
    old_limits: Limits | None = None
    """What a failure brings back."""
    import_s: float | None = None
    canary_s: float | None = None
    fork_safety: str | None = None
    """In a few words; None: not looked at."""
    drained: int = 0
    cut: int = 0
    notes: list[str] = field(default_factory=list)
    """What the new settings ask for but only a restart can give."""
    failure: Failure | None = None


@dataclass(slots=True)
class ReloadReport:
    """How the last reload ended."""

    number: int
    succeeded: bool
    generation: int
    """Serving after it."""
    duration_s: float
    import_s: float | None
    canary_s: float | None
    drained: int
    cut: int
    notes: list[str]
    reason: str | None = None
    detail: str | None = None
    fork_safety: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that decisions need."""

    boot_timeout_s: float
    drain_timeout_s: float
    max_surge: str = "25%"
    max_unavailable: str = "0"
    drain_delay_s: float = 0.0
    """Between the first word of an end and the drain."""
    kill_grace_s: float = 4.0
    """What a worker gets beyond its own drain deadline before it is killed."""
    hook_timeout_s: float = 10.0
    hang_warn_s: float = 1.0
    hang_timeout_s: float = 30.0
    respawns_per_min: int = 60
    has_own_listeners: bool = False
    """Each fork_id has a listener of its own (instances)."""
    is_script: bool = False
    """The app is a script with its own main program, that forks by ``fork_processes``."""

    def surge(self, desired_workers: int) -> int:
        """Return how many replacements may be starting at once; 0: only where the old one is gone."""
        if self.max_surge.endswith("%"):
            share = float(self.max_surge[:-1]) / 100
            return math.ceil(share * desired_workers)
        return int(self.max_surge)

    def unavailable(self, desired_workers: int) -> int:
        """Return how many workers may be missing while others are replaced.

        A share is rounded down; at least 1 if replacements have to wait for the end of old workers.
        """
        if self.max_unavailable.endswith("%"):
            count = math.floor(float(self.max_unavailable[:-1]) / 100 * desired_workers)
        else:
            count = int(self.max_unavailable)
        return max(count, 1 if self.surge(desired_workers) == 0 else 0)


@dataclass(slots=True)
class State:
    """The whole knowledge of one supervisor."""

    desired_workers: int
    limits: Limits
    phase: Phase = Phase.BOOTING
    generation: int = 0
    """Of the zygote started last."""
    oldest_wanted: int = 0
    """Workers of generations below this one are to be replaced."""
    refused_generations: list[int] = field(default_factory=list)
    """Generations of reloads that failed: their workers are to be replaced too."""
    reload: Reload | None = None
    reload_queued: bool = False
    reload_count: int = 0
    last_reload: ReloadReport | None = None
    zygotes: dict[int, Zygote] = field(default_factory=dict)
    """generation -> zygote, one entry per live process."""
    workers: dict[int, Worker] = field(default_factory=dict)
    """row -> worker, one entry per live process or outstanding fork."""
    places: dict[int, Place] = field(default_factory=dict)
    """fork_id -> place, one entry per desired worker."""
    asked_workers: int | None = None
    """Script mode: what the script that serves gave ``fork_processes``; scale changes it not."""
    hook_calls: dict[int, HookCall] = field(default_factory=dict)
    """number -> call, one entry per live process or outstanding command."""
    hook_count: int = 0
    past_requests: int = 0
    """Counted by workers of places that a scale-down took away."""
    past_recycled: int = 0
    """As above, of workers that had reached a limit."""
    served_generations: list[int] = field(default_factory=list)
    """Generations that have had a ready worker, the last few, in order."""
    respawns_s: list[float] = field(default_factory=list)
    """Monotonic. When workers were started in place of ones that died young: the last minute's."""
    budget_said_s: float | None = None
    """Monotonic. When it was last said that the budget for these is used up."""
    audits: dict[int, dict[str, Any]] = field(default_factory=dict)
    """generation -> what its zygote has found that workers must not share, of the last few."""
    zygote_failures: int = 0
    zygote_retry_at_s: float | None = None
    zygote_problem: str | None = None
    """Why there is no zygote that can fork, if there is none and it is known."""
    stop_signal: int | None = None
    """The signal that asked for the stop; None = the stop command."""
    stop_due_s: float | None = None
    """Monotonic. When a stop that was asked for begins; until then the service serves on."""
    stop_hurried: bool = False
    hurried_at_s: float | None = None
    """Monotonic. When the stop became a hurried one."""
    listeners_closed: bool = False
    suspended_listeners: list[int] = field(default_factory=list)
    """fork_ids whose own listener refuses connections until a worker listens."""
    listeners_to_close: list[int] = field(default_factory=list)
    """fork_ids that a scale-down took away, whose own listener is still open."""
    stop_forced: bool = False
    """Some process had to be killed at its deadline."""
    failure: Failure | None = None
    exit_code: int = 0

    def free_row(self, row_count: int) -> int:
        """Return the lowest row that no worker holds: keeps the rows in use dense.

        Raises: RuntimeError: all *row_count* rows are held.
        """
        for row in range(row_count):
            if row not in self.workers:
                return row
        message = f"[BUG] all {row_count} scoreboard rows are held"
        raise RuntimeError(message)

    def is_wanted(self, worker: Worker) -> bool:
        """Tell whether a worker may stay: its generation is wanted and nobody asked to replace it."""
        return not worker.outdated and self.generation_is_wanted(worker.generation)

    def generation_is_wanted(self, generation: int) -> bool:
        return generation >= self.oldest_wanted and generation not in self.refused_generations

    def fork_safety(self) -> dict[str, Any] | None:
        """Return the audit of the generation that serves; None: there was none."""
        return self.audits.get(self.serving_generation())

    def serving_generation(self) -> int:
        """Return the newest generation that takes requests; if no worker is ready, the one that did
        so last; 0 before the first.
        """
        ready = [
            worker.generation
            for worker in self.workers.values()
            if worker.state is WorkerState.READY and self.generation_is_wanted(worker.generation)
        ]
        past = [item for item in self.served_generations if self.generation_is_wanted(item)]
        return max(ready or past or self.served_generations, default=0)

    def note_served(self, generation: int) -> None:
        """Remember that a worker of this generation has been ready."""
        if generation not in self.served_generations:
            self.served_generations = sorted([*self.served_generations, generation])[-KEPT_SERVED:]


def to_plain(state: State) -> dict[str, Any]:
    """Return the state as JSON-ready data."""
    return dataclasses.asdict(state)


def from_plain(data: dict[str, Any]) -> State:
    """Rebuild what ``to_plain`` wrote, also after a passage through JSON (keys became texts)."""
    values = dict(data)
    values["limits"] = Limits(**data["limits"])
    values["phase"] = Phase(data["phase"])
    values["failure"] = None if data["failure"] is None else Failure(**data["failure"])
    if (reload := data["reload"]) is not None:
        failure = reload["failure"]
        values["reload"] = Reload(
            **(
                reload
                | {
                    "step": ReloadStep(reload["step"]),
                    "failure": None if failure is None else Failure(**failure),
                    "old_limits": None
                    if reload["old_limits"] is None
                    else Limits(**reload["old_limits"]),
                }
            )
        )
    if data["last_reload"] is not None:
        values["last_reload"] = ReloadReport(**data["last_reload"])
    values["zygotes"] = {
        int(key): Zygote(**(item | {"state": ZygoteState(item["state"])}))
        for key, item in data["zygotes"].items()
    }
    values["workers"] = {
        int(key): Worker(**(item | {"state": WorkerState(item["state"])}))
        for key, item in data["workers"].items()
    }
    values["hook_calls"] = {int(key): HookCall(**item) for key, item in data["hook_calls"].items()}
    values["audits"] = {int(key): item for key, item in data["audits"].items()}
    values["places"] = {int(key): Place(**item) for key, item in data["places"].items()}
    return State(**values)
