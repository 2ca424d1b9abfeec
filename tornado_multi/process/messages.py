"""The messages between supervisor, zygote and workers, and their bytes. No I/O.

One message is one SEQPACKET datagram: UTF-8 JSON ``{"v": 1, "type": "Fork", ...fields}``. JSON,
because a few messages pass per process life and a person with strace should be able to read them.
File descriptors that go with a message are named in its docstring; the channel carries them.

Rule 1: a message is never empty (an empty datagram reads like end of file).
Rule 2: a message never exceeds MAX_MESSAGE_BYTES; a long text is cut in its middle and says so.
Rule 3: an unknown version or type is an error of the peer, never ignored.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
MAX_TEXT_BYTES = 40 * 1024
"""Longest text in one field: leaves room for JSON's escapes of a few control characters."""


class RemoteProtocolError(Exception):
    """The peer sent bytes that are no message of this protocol version."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket as every process of the tree knows it, by the same fd number."""

    fd: int
    address: str
    """As shown to people: ``http://127.0.0.1:8888``, ``unix:/run/shop.sock``."""
    is_inherited: bool = False
    """Somebody else listens on after us: what is queued at the end is theirs."""
    key: str = ""
    """Script mode: the ``bind_sockets`` call that it came from; a call returns all of its key."""


# --- supervisor -> zygote -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Boot:
    """The first message to a zygote: what to load and what its workers will need."""

    generation: int
    supervisor_pid: int
    scoreboard_fd: int
    listeners: tuple[Listener, ...]
    directory: str
    settings: dict[str, Any]
    """``Settings`` as plain data."""
    app_arguments: tuple[str, ...] | None
    """What followed ``--``, for tornado.options; None if there was no ``--``."""
    nofile_limit: int | None
    """Soft RLIMIT_NOFILE to restore (the supervisor raised its own)."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Fork one worker. With it goes one fd: the worker's end of its own channel.

    For an instance a second one: the listener that is its own.
    """

    row: int
    fork_id: int
    is_canary: bool = False
    address: str = ""
    """Of its own listener."""


@dataclass(frozen=True, slots=True)
class CallHook:
    """Fork a process that calls one hook and ends. With it goes one fd: its end of a channel."""

    number: int
    hook: str
    report: dict[str, Any]
    """The hook's only argument."""


# --- zygote -> supervisor -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """Script mode: the script of a new generation has bound one more socket.

    With it goes the listening socket. Sent before Loaded.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The app's module is imported; Fork commands are welcome."""

    import_s: float
    hooks: tuple[str, ...] = ()
    """The hooks that the app has."""
    workers: int | None = None
    """Script mode: the number that ``fork_processes`` was given."""
    keys: tuple[str, ...] | None = None
    """Script mode: the ``bind_sockets`` calls that this generation has made."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What of the app its workers would share by accident. Sent before Loaded."""

    errors: int
    warnings: int
    findings: tuple[dict[str, Any], ...]
    """Errors and warnings first, ``findings.to_plain``; as many as the message has room for."""
    omitted: int
    """Findings that it has no room for."""
    duration_s: float
    directory: str
    """The app's: files below it are shown without it."""

    def plain(self) -> dict[str, Any]:
        """Return it as data that JSON gives back as it was."""
        return dataclasses.asdict(self) | {"findings": list(self.findings)}


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The app could not be loaded; the zygote ends."""

    reason: str
    """One line: what failed and what was seen."""
    detail: str
    """The traceback, or an empty text."""
    usage: bool = False
    """The mistake is in what the user typed (spec, options after ``--``), not in the app."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The worker for *row* runs as *pid* and is the supervisor's child by now."""

    row: int
    pid: int


@dataclass(frozen=True, slots=True)
class ForkFailed:
    """The system refused the fork for *row*."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class HookForked:
    """The process for a CallHook runs as *pid* and is the supervisor's child by now."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class HookRefused:
    """The system refused the fork for a CallHook."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A hook raised or hung: said by the process that called it, which goes on."""

    hook: str
    reason: str
    """One line: what failed and what was seen."""
    detail: str = ""
    """The traceback, or an empty text."""


# --- supervisor -> worker -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop taking work, finish what is in hand within *timeout_s*, leave."""

    timeout_s: float
    empty_queue: bool = False
    """The whole service stops: first take what the kernel has queued, nobody else will."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the ready path answers from now on; requests are served all the same."""

    wants_requests: bool


# --- supervisor -> zygote, worker -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Close the log files; the next record opens its path anew. For logrotate."""


# --- supervisor -> a worker's watchdog, and back --------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListTasks:
    """Say what asyncio tasks and threads are doing; answered when the interpreter's lock is free."""

    number: int


@dataclass(frozen=True, slots=True)
class Tasks:
    """The stacks of the asyncio tasks, and of all threads but the main one, as text."""

    number: int
    text: str
    threads: str = ""


# --- worker -> supervisor -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The app is built and the worker accepts.

    With it go two fds: a memory file into which the worker writes its main thread's stack when it
    gets the signal ``linux.STACKS_SIGNAL``; and one end of a channel to the worker's watchdog.
    """


@dataclass(frozen=True, slots=True)
class BootFailed:
    """The app could not be built in this worker; it ends."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Worn:
    """The worker has reached one of its limits, and asks for a successor before it leaves."""

    reason: str


@dataclass(frozen=True, slots=True)
class SlowSteps:
    """How often a handler has held up the loop for longer than ``slow_step_s``, so far."""

    handler: str
    count: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Draining:
    """The worker stopped taking work, by command or (then it wants a successor) by a TERM."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The drain is over and resources are closed; the worker ends now."""

    duration_s: float
    """Until no connection was left."""
    finished: int
    """Requests that ended while it drained."""
    closed_idle: int
    """Keep-alive connections on which no further request came."""
    closed_websockets: int
    ended_streams: int
    """Event streams that did not end by themselves and were given their last chunk."""
    cut: int
    """Connections that the deadline cut."""
    cut_handlers: tuple[str, ...] = ()
    """Routes that were cut."""
    hook_s: float = 0.0
    """How long the worker then waited for ``on_drain``."""
    closing_s: float = 0.0
    """How long it took to close resources after that."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The worker serves no more and runs what is to run at its end (exit handlers)."""

    reason: str | None = None
    """What has ended it, if nobody had asked it to end."""
    detail: str | None = None
    """The traceback of that."""


@dataclass(frozen=True, slots=True)
class RouteNamed:
    """What a route number in this worker's row stands for. Sent once per route."""

    route_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Resources:
    """What exists in the worker now. Sent whenever that has changed."""

    resources: tuple[dict[str, Any], ...]
    """Each as status shows it; a bounded number, with bounded texts."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know once, however many workers say it."""

    key: str
    text: str


Message = (
    Boot
    | Fork
    | CallHook
    | Bound
    | Audited
    | Loaded
    | LoadFailed
    | Forked
    | ForkFailed
    | HookForked
    | HookRefused
    | HookFailed
    | Drain
    | Readiness
    | ReopenLogs
    | Ready
    | BootFailed
    | ListTasks
    | Worn
    | SlowSteps
    | Draining
    | Drained
    | Ending
    | RouteNamed
    | Resources
    | Tasks
    | Notice
)

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in Message.__args__}


def cut_middle(text: str, limit_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return *text*, or its two ends with a line between that says how much is missing."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit_bytes:
        return raw.decode("utf-8")
    half = (limit_bytes - 64) // 2
    head, tail = raw[:half].decode("utf-8", "ignore"), raw[-half:].decode("utf-8", "ignore")
    return f"{head}\n... {len(raw) - 2 * half} bytes cut here ...\n{tail}"


def encode(message: Message) -> bytes:
    """Encode one message as one datagram of 1..MAX_MESSAGE_BYTES bytes.

    Raises: ValueError: it is too large even after its texts were cut.
    Runs in: any process. Blocks: never.
    """
    record = dataclasses.asdict(message)
    head = {"v": PROTOCOL_VERSION, "type": type(message).__name__}
    data = json.dumps(head | record, ensure_ascii=False).encode("utf-8", "replace")
    limit_bytes = MAX_TEXT_BYTES
    while len(data) > MAX_MESSAGE_BYTES and limit_bytes >= 1024:
        texts = {
            key: cut_middle(value, limit_bytes)
            for key, value in record.items()
            if isinstance(value, str)
        }
        data = json.dumps(head | record | texts, ensure_ascii=False).encode("utf-8", "replace")
        limit_bytes //= 2
    if len(data) > MAX_MESSAGE_BYTES:
        text = (
            f"a {type(message).__name__} message of {len(data)} bytes exceeds {MAX_MESSAGE_BYTES}"
        )
        raise ValueError(text)
    return data


def decode(data: bytes) -> Message:
    """Decode one datagram.

    Raises: RemoteProtocolError: not JSON, another version, an unknown type, wrong fields.
    Runs in: any process. Blocks: never.
    """
    try:
        record = json.loads(data)
        version, name = record.pop("v"), record.pop("type")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        text = f"no message: {data[:80]!r}"
        raise RemoteProtocolError(text) from error
    if version != PROTOCOL_VERSION:
        text = f"message version {version!r}; this process speaks {PROTOCOL_VERSION}"
        raise RemoteProtocolError(text)
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        text = f"unknown message type {name!r}"
        raise RemoteProtocolError(text)
    try:
        return _restore_tuples(kind(**record))
    except TypeError as error:
        text = f"wrong fields for {name}: {sorted(record)}"
        raise RemoteProtocolError(text) from error


def _restore_tuples(message: Message) -> Message:
    # JSON has no tuples and no nested dataclasses; a few messages hold them.
    match message:
        case Boot(listeners=listeners, app_arguments=arguments):
            return dataclasses.replace(
                message,
                listeners=tuple(Listener(**item) for item in listeners),  # type: ignore[arg-type]  # plain dicts after JSON
                app_arguments=None if arguments is None else tuple(arguments),
            )
        case Loaded(hooks=hooks, keys=keys):
            return dataclasses.replace(
                message, hooks=tuple(hooks), keys=None if keys is None else tuple(keys)
            )
        case Audited(findings=findings):
            return dataclasses.replace(message, findings=tuple(findings))
        case Resources(resources=resources):
            return dataclasses.replace(message, resources=tuple(resources))
        case Drained(cut_handlers=handlers):
            return dataclasses.replace(message, cut_handlers=tuple(handlers))
        case _:
            return message
