"""What happens to the supervisor (events) and what it does (effects), as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tornado_multi.process.linux import ProcessEnd
    from tornado_multi.process.messages import Drained
    from tornado_multi.supervisor.state import Limits

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The supervisor holds its listeners and may begin."""


@dataclass(frozen=True, slots=True)
class ZygoteSpawned:
    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class ZygoteRefused:
    """The system refused to start the process."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ZygoteAudited:
    """A zygote has looked at what its workers will inherit."""

    generation: int
    audit: dict[str, Any]
    """errors, warnings, findings (plain, worst first), omitted, duration_s"""


@dataclass(frozen=True, slots=True)
class ZygoteLoaded:
    generation: int
    import_s: float
    hooks: tuple[str, ...] = ()
    workers: int | None = None
    """Script mode: the number that the script gave ``fork_processes``."""


@dataclass(frozen=True, slots=True)
class ZygoteLoadFailed:
    generation: int
    reason: str
    detail: str
    usage: bool


@dataclass(frozen=True, slots=True)
class ZygoteEnded:
    generation: int
    end: ProcessEnd
    output: str = ""
    """Script mode: what it has written to its standard error before it was ready."""


@dataclass(frozen=True, slots=True)
class WorkerForked:
    row: int
    pid: int


@dataclass(frozen=True, slots=True)
class ForkRefused:
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerReady:
    row: int


@dataclass(frozen=True, slots=True)
class WorkerBootFailed:
    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of one ready worker whose loop is, or was, silent."""

    row: int
    beat_age_s: float
    is_stopped: bool
    """The process is stopped (SIGSTOP, a debugger)."""
    route: str | None
    """Of the handler that runs, else of the request begun last, while one is in flight."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The supervisor has looked at the beats; what is as it should be is left out."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class WorkerWorn:
    """A worker has reached one of its limits (requests, memory, age) and asks for a successor."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    row: int


@dataclass(frozen=True, slots=True)
class WorkerDrained:
    """A worker's drain report."""

    row: int
    report: Drained


@dataclass(frozen=True, slots=True)
class WorkerEnding:
    """It serves no more; what remains are its exit handlers."""

    row: int
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ForkSent:
    """The Fork command for *row* has reached the zygote: its time begins."""

    row: int


@dataclass(frozen=True, slots=True)
class Suspended:
    """This process did not run for a while (SIGSTOP, a paused machine): no deadline counts it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    row: int
    end: ProcessEnd
    requests: int
    """What its row had counted."""
    in_flight: int = 0
    route: str | None = None
    """Of the handler that ran, else of the request begun last, if one was in flight."""
    lag_s: float | None = None
    """How late its last beat came."""
    beat_age_s: float | None = None
    pss_bytes: int | None = None
    oom: str | None = None
    """What says that the kernel has killed it for want of memory."""
    stacks: str | None = None
    """What it has written of its threads at a fatal signal."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """By a signal, or (None) by the stop command."""

    signal_number: int | None
    hurried: bool


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    by: str
    """Who asked: SIGHUP, the command, a changed file."""


@dataclass(frozen=True, slots=True)
class SettingsRead:
    """The settings as they are now, for the generation to come."""

    limits: Limits
    desired_workers: int | None
    """None: the number in the settings has not changed; what scale asked for stays."""
    notes: tuple[str, ...] = ()
    """What only a restart can change, one sentence each."""


@dataclass(frozen=True, slots=True)
class SettingsRefused:
    """The settings can't be read any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScaleAsked:
    desired_workers: int


@dataclass(frozen=True, slots=True)
class RestartAsked:
    fork_id: int


@dataclass(frozen=True, slots=True)
class RestartGivenUp:
    """Who asked for the restart was told that it failed: it must not be carried out later."""

    fork_id: int


@dataclass(frozen=True, slots=True)
class ReopenAsked:
    """By SIGUSR1: log files have been moved away."""


@dataclass(frozen=True, slots=True)
class HookForked:
    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class HookRefused:
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A hook raised or hung; the process that called it goes on."""

    who: str
    generation: int | None
    """Whose zygote or worker called it; None: a process of its own did."""
    hook: str
    reason: str
    detail: str = ""
    number: int | None = None
    """Of the call, if a process of its own made it."""


@dataclass(frozen=True, slots=True)
class HookEnded:
    """The process that called a hook has ended."""

    number: int
    end: ProcessEnd


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Some deadline of the state may have passed."""


Event = (
    Started
    | ZygoteSpawned
    | ZygoteRefused
    | ZygoteAudited
    | ZygoteLoaded
    | ZygoteLoadFailed
    | ZygoteEnded
    | WorkerForked
    | ForkRefused
    | WorkerReady
    | Looked
    | WorkerWorn
    | WorkerBootFailed
    | WorkerDraining
    | WorkerDrained
    | WorkerEnding
    | WorkerEnded
    | ForkSent
    | Suspended
    | StopAsked
    | ReloadAsked
    | SettingsRead
    | SettingsRefused
    | ScaleAsked
    | RestartAsked
    | RestartGivenUp
    | ReopenAsked
    | HookForked
    | HookRefused
    | HookFailed
    | HookEnded
    | DeadlinePassed
)

# --- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartZygote:
    generation: int


@dataclass(frozen=True, slots=True)
class ReleaseZygote:
    """Close its channel: an idle zygote leaves at end of file."""

    generation: int


@dataclass(frozen=True, slots=True)
class KillZygote:
    generation: int


@dataclass(frozen=True, slots=True)
class ForkWorker:
    """Have the zygote of *generation* fork a worker into *row*."""

    generation: int
    row: int
    fork_id: int
    is_canary: bool = False
    """It probes itself before it says that it is ready."""


@dataclass(frozen=True, slots=True)
class RestoreSettings:
    """Forget the settings of a reload that failed."""


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Read the settings anew, from the same sources; answered by SettingsRead or -Refused."""


@dataclass(frozen=True, slots=True)
class DrainWorker:
    row: int
    timeout_s: float
    empty_queue: bool = False


@dataclass(frozen=True, slots=True)
class TellReadiness:
    """Let a worker say at its ready path that requests should go elsewhere, or come again."""

    row: int
    wants_requests: bool


@dataclass(frozen=True, slots=True)
class RefuseConnections:
    """Let no further connection begin: the service stops, or one instance goes for good."""

    fork_id: int | None = None
    """None: all."""


@dataclass(frozen=True, slots=True)
class SuspendListener:
    """Refuse connections to an instance that nobody serves for a while; its worker listens anew."""

    fork_id: int


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """Who leaves has taken what was queued: close for good."""

    fork_id: int | None = None
    """An instance that a scale-down took away; None: all, the service stops."""


@dataclass(frozen=True, slots=True)
class KillWorker:
    row: int


@dataclass(frozen=True, slots=True)
class AbortWorker:
    """Send ABRT: faulthandler writes the stacks, then the process ends."""

    row: int


@dataclass(frozen=True, slots=True)
class ReportHang:
    """Put into the log what a worker with a silent loop is doing."""

    row: int
    silent_s: float
    route: str | None


@dataclass(frozen=True, slots=True)
class ForgetWorker:
    """Close the channel of a worker that was never announced; if it lives, it leaves."""

    row: int


@dataclass(frozen=True, slots=True)
class CallHook:
    """Have the zygote of *generation* fork a process that calls a hook."""

    generation: int
    number: int
    hook: str
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KillHook:
    number: int


@dataclass(frozen=True, slots=True)
class ForgetHook:
    """Close the channel of a hook's process that was never announced; if it lives, it leaves."""

    number: int


@dataclass(frozen=True, slots=True)
class SettleListeners:
    """A reload is over: close the listeners that *generation* has not bound (script mode)."""

    generation: int


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Tell every zygote and worker."""


@dataclass(frozen=True, slots=True)
class Say:
    """One log line: who speaks, one sentence, and the same values for machines."""

    level: Literal["info", "warning", "error"]
    who: str
    text: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """Every fork_id has a ready worker for the first time."""


@dataclass(frozen=True, slots=True)
class Finish:
    """No child is left: end with the state's exit code."""


Effect = (
    StartZygote
    | ReadSettings
    | RestoreSettings
    | TellReadiness
    | RefuseConnections
    | SuspendListener
    | CloseListeners
    | ReleaseZygote
    | KillZygote
    | ForkWorker
    | DrainWorker
    | KillWorker
    | AbortWorker
    | ReportHang
    | ForgetWorker
    | CallHook
    | KillHook
    | ForgetHook
    | SettleListeners
    | ReopenLogs
    | Say
    | AnnounceReady
    | Finish
)
