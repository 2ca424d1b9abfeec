"""The settings, one frozen class per group, each option once.

A field's name is its flag (``--boot-timeout-s``), its environment variable
(``TORNADO_MULTI_BOOT_TIMEOUT_S``) and its key in ``tornado_multi.toml``; its metadata holds the help
text and the bounds. Everything else is derived. No side effects, no environment, no files here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tornado_multi.settings.allowances import check_allowance
from tornado_multi.settings.bind import MAX_PORT, parse_bind

if TYPE_CHECKING:
    from collections.abc import Collection

MIB_BYTES = 1024 * 1024
QUARANTINE_KINDS = ("sockets", "epolls", "libraries", "locks", "random")
MAX_WORKERS = 2048
"""Half of the scoreboard: while workers are replaced, one fork_id holds two rows."""


@dataclass(frozen=True, slots=True)
class Option:
    """What an option says of itself beside name, type and default."""

    help: str
    at_least: float | None = None
    at_most: float | None = None
    check: Any = None  # Callable[[str], object]: raises ValueError with a sentence
    """Also called per item of a repeatable option."""
    separator: str | None = None
    """Between the values of a repeatable option in the environment; None: white space."""


def option(
    default: Any,
    help: str,  # noqa: A002 - the word that users see
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    check: Any = None,
    separator: str | None = None,
) -> Any:
    """Declare one option of a group."""
    declared = Option(help, at_least, at_most, check, separator)
    return field(default=default, metadata={"option": declared})


def _check_workers(text: str) -> None:
    if text == "auto":
        return
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_WORKERS:
        message = f"must be 1..{MAX_WORKERS} or auto"
        raise ValueError(message)


def _check_surge(text: str) -> None:
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.isdigit()):
        message = "must be a number of workers such as 2, or a share such as 25%"
        raise ValueError(message)


OFF = "off"
"""In place of a health path: there is none."""
READY_PATH, LIVE_PATH = "/-/ready", "/-/live"
"""Of instances, unless other ones are given."""


def _check_own_path(text: str) -> None:
    if text != OFF:
        _check_path(text)
    if "?" in text or "#" in text:
        message = "must be a path without a query"
        raise ValueError(message)


def _check_path(text: str) -> None:
    if not text.startswith("/") or not text.isprintable() or " " in text:
        message = "must be a path that begins with /, without spaces"
        raise ValueError(message)


def _check_umask(text: str) -> None:
    if not (text.isascii() and text.isdigit()) or not set(text) <= set("01234567") or len(text) > 4:
        message = "must be octal digits such as 027"
        raise ValueError(message)


def _check_function(text: str) -> None:
    module, colon, name = text.partition(":")
    if not (colon and module and name):
        message = "must be module:function"
        raise ValueError(message)


def _check_name(text: str) -> None:
    if not text or "/" in text or text.startswith(".") or not text.isprintable():
        message = "must be a file name without slashes that doesn't begin with a dot"
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenSettings:
    """Listening."""

    bind: tuple[str, ...] = option(
        ("127.0.0.1:8888",),
        "Address to listen on; may be repeated. host:port, [v6]:port, "
        "unix:/path?mode=660&group=www-data, fd://N or fd://NAME. Port 0 takes any free port. "
        "Default: the sockets that systemd passes, else 127.0.0.1:8888.",
        check=parse_bind,
    )
    backlog: int = option(
        2048,
        "Connections that the kernel queues per listener; net.core.somaxconn caps it.",
        at_least=1,
        at_most=65535,
    )
    max_connections: int | None = option(
        None,
        "Connections that one worker holds at most; further ones wait in the backlog. "
        "A worker also stops accepting at 90 % of its limit of open files.",
        at_least=1,
    )


def _check_unix_dir(text: str) -> None:
    path, mark, query = text.partition("?")
    parse_bind(f"unix:{path.rstrip('/')}/{MAX_WORKERS - 1}.sock{mark}{query}")


def _check_host(text: str) -> None:
    parse_bind(f"{_bracketed(text)}:1")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceSettings:
    """Instances."""

    count: str = option(
        "auto",
        "Number of instances, each with an address of its own, or auto: one per CPU.",
        check=_check_workers,
    )
    first_port: int | None = option(
        None,
        "Port of the instance with the fork_id 0; the others follow without a gap.",
        at_least=1,
        at_most=65535,
    )
    unix_dir: str | None = option(
        None,
        "Directory for unix sockets in place of ports: DIR/FORK_ID.sock. "
        "?mode=660&group=www-data may follow.",
        check=_check_unix_dir,
    )
    host: str = option("127.0.0.1", "Host or address that the ports belong to.", check=_check_host)

    @property
    def is_asked(self) -> bool:
        """Tell whether these say where instances listen."""
        return self.first_port is not None or self.unix_dir is not None

    def bind_of(self, fork_id: int) -> str:
        """Return the address of one instance, as ``--bind`` takes it."""
        if self.unix_dir is not None:
            path, mark, query = self.unix_dir.partition("?")
            return f"unix:{path.rstrip('/')}/{fork_id}.sock{mark}{query}"
        assert self.first_port is not None
        return f"{_bracketed(self.host)}:{self.first_port + fork_id}"

    def most_instances(self) -> int:
        """Return how many there may be: ports end."""
        if self.first_port is None:
            return MAX_WORKERS
        return min(MAX_WORKERS, MAX_PORT - self.first_port + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Workers."""

    workers: str = option(
        "auto",
        "Number of workers, or auto: one per CPU that this process may use (affinity, and the "
        "CPU quota of its cgroup).",
        check=_check_workers,
    )
    loop: Literal["uvloop", "asyncio"] = option("uvloop", "Event loop of the workers.")
    boot: Literal["preload", "lazy"] = option(
        "preload",
        "preload: the app is imported once and workers are forked from it. lazy: each worker "
        "imports it for itself.",
    )
    max_surge: str = option(
        "25%",
        "Replacements that may be starting at once during a reload: a number, or a share of the "
        "workers. 0 (needs --max-unavailable): none starts before the old worker has ended.",
        check=_check_surge,
    )
    max_unavailable: str = option(
        "0",
        "Workers that may be missing during a reload, because they drain before their replacements "
        "are ready: a number, or a share of the workers.",
        check=_check_surge,
    )
    health_path: str | None = option(
        None,
        "Path that the first worker of a reload asks itself for; unless the answer is 2xx, the "
        "reload fails.",
        check=_check_path,
    )
    boot_timeout_s: float = option(
        60.0,
        "Seconds that importing the app may take, and seconds from a worker's fork to ready.",
        at_least=0.1,
        at_most=86400,
    )
    drain_timeout_s: float = option(
        30.0,
        "Seconds that a worker which leaves may spend on the requests in progress.",
        at_least=0,
        at_most=86400,
    )
    drain_delay_s: float = option(
        0.0,
        "Seconds that a service which is told to stop, or an instance that a scale-down takes away, "
        "goes on serving before it drains; its ready path says 503, so that a balancer that asks it "
        "sends requests elsewhere.",
        at_least=0,
        at_most=3600,
    )
    drain_streams_s: float = option(
        5.0,
        "Seconds that an event stream has to end by itself (tornado_multi.draining, on_drain) "
        "before it is given its last chunk.",
        at_least=0,
        at_most=86400,
    )
    drain_websocket_code: Literal[1001, 1012] = option(
        1001,
        "Close code that websockets get from a worker which leaves: 1001 (going away) or 1012 "
        "(service restart).",
    )
    drain_idle_s: float = option(
        1.0,
        "Seconds that a worker which leaves keeps idle keep-alive connections open, so that a "
        "request on its way is still answered.",
        at_least=0,
        at_most=3600,
    )


def _check_quarantine(text: str) -> None:
    if text not in {*QUARANTINE_KINDS, "none"}:
        message = f"must be one of {', '.join(QUARANTINE_KINDS)}, or none"
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSettings:
    """Liveness and recycling."""

    hang_warn_s: float = option(
        1.0,
        "Seconds without a beat of a worker's event loop after which its stacks are put into the "
        "log. Loops beat every half second.",
        at_least=0.6,
        at_most=3600,
    )
    hang_timeout_s: float = option(
        30.0,
        "Seconds without a beat after which a worker is killed and replaced.",
        at_least=1,
        at_most=86400,
    )
    ready_path: str | None = option(
        None,
        "Path that workers answer by themselves: 200 while they want requests, 503 when they are "
        f"about to leave; or {OFF}. Default: {READY_PATH} with instances, {OFF} with serve.",
        check=_check_own_path,
    )
    live_path: str | None = option(
        None,
        "Path that workers answer by themselves with 200 as long as their event loop runs; or "
        f"{OFF}. Default: {LIVE_PATH} with instances, {OFF} with serve.",
        check=_check_own_path,
    )
    slow_step_s: float = option(
        0.1,
        "Seconds that a handler may hold up the event loop at a stretch; longer ones are counted in "
        "the status.",
        at_least=0.001,
        at_most=3600,
    )
    max_requests: int | None = option(
        None,
        "Requests that a worker answers before it is replaced. Default: no limit.",
        at_least=1,
    )
    max_requests_jitter: int = option(
        0,
        "Up to so many requests more, by chance, so that workers aren't replaced together.",
        at_least=0,
    )
    max_memory_bytes: int | None = option(
        None,
        "Memory (PSS, measured every 10 s) at which a worker is replaced. Default: no limit.",
        at_least=MIB_BYTES,
    )
    max_age_s: float | None = option(
        None,
        "Seconds that a worker lives before it is replaced, with up to a tenth more, by chance. "
        "Default: no limit.",
        at_least=1,
    )
    respawns_per_min: int = option(
        60,
        "Workers that may be started per minute, all fork_ids together, in place of ones that died "
        "soon after their start.",
        at_least=1,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetySettings:
    """Fork safety."""

    fork_safety: Literal["off", "warn", "strict"] = option(
        "warn",
        "What to do about things of the app that must not be shared by its workers: name them and "
        "serve, refuse to serve while there are errors, or don't look. In the file also "
        "[fork_safety] mode.",
    )
    fork_safety_allow: tuple[str, ...] = option(
        (),
        "A finding that is no finding, and why: 'FILE[:LINE] reason' or 'KIND reason', with * and "
        "? in the first word; check shows the KIND of each finding. May be repeated; in the "
        "environment separated by ;. In the file also [fork_safety] allow.",
        check=check_allowance,
        separator=";",
    )
    fork_safety_quarantine: tuple[str, ...] = option(
        QUARANTINE_KINDS,
        "What is made harmless in the workers: sockets (dead ends), epolls (fresh ones), libraries "
        "(pools begin anew), locks (held by vanished threads), random (new seeds); or none. May be "
        "repeated. In the file also [fork_safety] quarantine.",
        check=_check_quarantine,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSettings:
    """Control."""

    name: str | None = option(
        None,
        "Name of the service; names the control socket. Default: the app's module.",
        check=_check_name,
    )
    control: str | None = option(
        None,
        "Path of the control socket. Default: NAME.sock in $RUNTIME_DIRECTORY, "
        "$XDG_RUNTIME_DIR/tornado_multi, /run/tornado_multi or a private temporary directory.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentSettings:
    """Environment."""

    chdir: str | None = option(
        None,
        "Directory to load the app from; first on its import path. A symbolic link is kept as "
        "typed. Default: the current directory.",
    )
    pid_file: str | None = option(
        None, "File to hold the supervisor's pid; locked while the supervisor lives."
    )
    user: str | None = option(
        None,
        "User (name or number) that the app runs as; needs root. The supervisor keeps its own "
        "identity. Default: the supervisor's.",
    )
    group: str | None = option(
        None,
        "Group (name or number) that the app runs as. Default: the main group of --user.",
    )
    umask: str | None = option(
        None,
        "File mode creation mask of the app, in octal digits such as 027. Default: inherited.",
        check=_check_umask,
    )
    reload_on_change: bool = option(
        default=False,
        help="For development: reload when a Python file below the app's directory changes.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggingSettings:
    """Logging."""

    log_dir: str | None = option(
        None,
        "Directory for log files, one per worker: NAME.FORK_ID.log; made if it is missing. Default: "
        "records go to standard error.",
    )
    log_file: str | None = option(
        None, "One log file for all workers, in place of --log-dir; its directory must exist."
    )
    log_format: Literal["text", "json"] = option(
        "text", "Form of log records, and of the supervisor's own lines on standard error."
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = option(
        None,
        "Least level that is logged, unless the app sets another. Default: info with --log-dir or "
        "--log-file, which includes the access log, otherwise warning.",
    )
    log_max_bytes: int = option(
        100 * MIB_BYTES,
        "Size at which a log file is rotated; 0: never by size.",
        at_least=0,
    )
    log_rotate_every_s: int | None = option(
        None,
        "Seconds between rotations, counted from local midnight: 86400 rotates at midnight, 3600 "
        "at every full hour. Default: never by time.",
        at_least=1,
        at_most=31 * 86400,
    )
    log_backups: int = option(
        10,
        "Rotated files kept beside each log file: FILE.1 is the youngest.",
        at_least=1,
        at_most=100_000,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class HookSettings:
    """Hooks."""

    on_starting: str | None = option(
        None,
        "module:function called in the zygote after the import, once per generation. Default, for "
        "each hook: the function of this name in the app's module, if it has one.",
        check=_check_function,
    )
    before_fork: str | None = option(
        None,
        "module:function called with the fork_id in the zygote, before each fork.",
        check=_check_function,
    )
    after_fork: str | None = option(
        None,
        "module:function called with the fork_id in each new worker, before its event loop.",
        check=_check_function,
    )
    on_ready: str | None = option(
        None,
        "module:function, sync or async, called on the loop of each worker that is ready.",
        check=_check_function,
    )
    on_drain: str | None = option(
        None,
        "module:function, sync or async, called on the loop of each worker that begins to drain.",
        check=_check_function,
    )
    on_worker_exit: str | None = option(
        None,
        "module:function called with a report for each worker that has ended, in a process of its "
        "own.",
        check=_check_function,
    )
    on_reload: str | None = option(
        None,
        "module:function called with the report of each reload that has ended, in a process of its "
        "own.",
        check=_check_function,
    )
    hook_timeout_s: float = option(
        10.0,
        "Seconds that a hook may take; then it is interrupted and reported.",
        at_least=0.1,
        at_most=3600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsSettings:
    """TLS."""

    tls_certificate: str | None = option(
        None,
        "PEM file with the certificate chain: serve https on every address. Read before --user "
        "takes effect, and again at each reload.",
    )
    tls_key: str | None = option(
        None, "PEM file with the private key. Default: it stands in the certificate's file."
    )
    tls_client_ca: str | None = option(
        None,
        "PEM file with the authorities of client certificates: only clients with one of theirs "
        "are served.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxySettings:
    """Behind a proxy."""

    xheaders: bool = option(
        default=False,
        help="Believe X-Real-Ip, X-Forwarded-For, X-Scheme and X-Forwarded-Proto. Only behind a "
        "proxy that sets them.",
    )
    trusted_downstream: tuple[str, ...] = option(
        (), "Proxy address to skip when X-Forwarded-For is read; may be repeated."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSettings:
    """HTTP."""

    max_body_size_bytes: int = option(
        100 * MIB_BYTES,
        "Largest request body; a larger one is answered with 400. A handler can raise it for itself "
        "(set_max_body_size).",
        at_least=0,
    )
    idle_timeout_s: float = option(
        75.0,
        "Seconds that a connection may stay without a request. Keep it above the proxy's own "
        "upstream keep-alive time.",
        at_least=0.1,
    )
    header_timeout_s: float = option(
        60.0, "Seconds from the first byte of a request to the end of its headers.", at_least=0.1
    )
    body_timeout_s: float | None = option(
        None, "Seconds that reading a request body may take. Default: no limit.", at_least=0.1
    )
    decompress: bool = option(
        default=False, help="Unpack request bodies sent with Content-Encoding: gzip."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All of ``serve`` and ``instances``. Groups whose field is flat put their keys at the file's top level."""

    app: str
    """``module:attr``."""
    listen: ListenSettings = ListenSettings()
    instances: InstanceSettings = InstanceSettings()
    workers: WorkerSettings = WorkerSettings()
    health: HealthSettings = HealthSettings()
    safety: SafetySettings = SafetySettings()
    control: ControlSettings = ControlSettings()
    environment: EnvironmentSettings = EnvironmentSettings()
    logging: LoggingSettings = LoggingSettings()
    hooks: HookSettings = HookSettings()
    tls: TlsSettings = TlsSettings()
    proxy: ProxySettings = ProxySettings()
    http: HttpSettings = HttpSettings()


TABLES = frozenset({"http"})
"""Groups that are tables in the file and prefixes elsewhere: [http], --http.x, ..._HTTP_X."""

GROUPS: dict[str, type[Any]] = {
    "listen": ListenSettings,
    "instances": InstanceSettings,
    "workers": WorkerSettings,
    "health": HealthSettings,
    "safety": SafetySettings,
    "control": ControlSettings,
    "environment": EnvironmentSettings,
    "logging": LoggingSettings,
    "hooks": HookSettings,
    "tls": TlsSettings,
    "proxy": ProxySettings,
    "http": HttpSettings,
}


def options_of(group: type[Any]) -> list[tuple[dataclasses.Field[Any], Option]]:
    """Return the options of one group in the order written."""
    return [(item, item.metadata["option"]) for item in dataclasses.fields(group)]


def health_paths(settings: Settings) -> tuple[str | None, str | None]:
    """Return the ready path and the live path; None: there is none."""
    given = settings.health.ready_path, settings.health.live_path
    defaults = (READY_PATH, LIVE_PATH) if settings.instances.is_asked else (None, None)
    ready, live = (path or default for path, default in zip(given, defaults, strict=True))
    return None if ready == OFF else ready, None if live == OFF else live


def option_keys(without: Collection[str] = ()) -> list[str]:
    """Return every option as its key in the file: ``workers``, ``http.idle_timeout_s``.

    Args: without: groups whose options are left out.
    """
    keys = []
    for name, group in GROUPS.items():
        if name in without:
            continue
        prefix = f"{name}." if name in TABLES else ""
        keys += [f"{prefix}{item.name}" for item, _ in options_of(group)]
    return keys


def service_name(settings: Settings) -> str:
    """Return the name of the service: it names the control socket and the log files."""
    return settings.control.name or settings.app.partition(":")[0].removesuffix(".py")


def to_plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON-ready data, for the zygote."""
    return dataclasses.asdict(settings)


def from_plain(data: dict[str, Any]) -> Settings:
    """Rebuild what ``to_plain`` wrote, also after a passage through JSON."""
    groups = {name: _group_from_plain(kind, data[name]) for name, kind in GROUPS.items()}
    return Settings(app=data["app"], **groups)


def _group_from_plain(kind: type[Any], data: dict[str, Any]) -> Any:
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    return kind(**values)
