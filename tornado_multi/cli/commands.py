"""The table of commands: each one's name, what it parses, and the module that runs it."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.load import (
    NGINX,
    FileSettings,
    UsageError,
    build_for_nginx,
    build_settings,
    control_keys,
    run,
    sources,
    unknown_variables,
    unmirror,
    with_groups,
)
from tornado_multi.settings.model import (
    GROUPS,
    ControlSettings,
    HttpSettings,
    Settings,
    option_keys,
    options_of,
)
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

AppArguments = tuple[str, ...] | None
AppSpec = Annotated[
    str,
    Parameter(
        help="module:attr of a tornado.web.Application, of a factory (sync or async) that returns "
        "one, or of any HTTPServerConnectionDelegate or request callback."
    ),
]
WaitDrain = Annotated[
    bool, Parameter(help="Wait until the old workers have drained, not only for the commit.")
]
Count = Annotated[int, Parameter(help="Number of workers.")]
ForkId = Annotated[int, Parameter(help="The worker's fork_id.")]
OptionalForkId = Annotated[int | None, Parameter(help="The worker's fork_id; default: all.")]
Follow = Annotated[
    bool, Parameter(("--follow", "-f"), negative="", help="Go on with what is logged from now on.")
]
ForkIds = Annotated[
    tuple[int, ...],
    Parameter("--fork-id", negative="", help="Only records of this worker; may be repeated."),
]
Level = Annotated[
    str | None, Parameter(help="Least level: debug, info, warning, error or critical.")
]
Since = Annotated[
    str | None,
    Parameter(
        help="Not before: a time ago such as 10m, 2h or 1d, today, yesterday, 10:00 or "
        "2026-11-25T10:00."
    ),
]
Grep = Annotated[str | None, Parameter(help="Only records that hold this text.")]
Tail = Annotated[
    int | None,
    Parameter(
        validator=validators.Number(gte=0),
        help="At most so many, the youngest; 0 with -f: only what comes. Default: 100, or all "
        "with --since.",
    ),
]
LogDir = Annotated[
    str | None, Parameter(help="Read the files there, also when the service is not running.")
]
LogFile = Annotated[str | None, Parameter(help="Read this file, as above.")]
Check = Annotated[bool, Parameter(negative="", help="Exit with 1 if no worker is ready to answer.")]
StrictWarnings = Annotated[
    bool, Parameter(negative="", help="Exit with 1 for warnings too, not for errors alone.")
]
Trace = Annotated[
    bool,
    Parameter(
        negative="",
        help="Look after each line of the app, to name the line also for what C libraries open.",
    ),
]
Factory = Annotated[
    bool, Parameter(negative="", help="Also call the factory, and list what it opens in a worker.")
]
LintedFile = Annotated[
    str,
    Parameter(
        "FILE",
        help="The main file of nginx, or a part such as sites-enabled/shop; - is the standard input.",
    ),
]
NginxVersion = Annotated[
    str | None,
    Parameter(help="Version of the nginx that reads the file. Default: of the one found here."),
]
OptionalApp = Annotated[
    str | None, Parameter(help="As for serve; names the service, and is not loaded. Default: app.")
]
Part = Annotated[
    Literal["all", "upstream", "server"],
    Parameter(help="Print the whole file, or a part for the http block of another one."),
]
NginxCheck = Annotated[
    bool, Parameter(negative="", help="Let nginx test it, in a directory of its own.")
]
Output = Annotated[
    str | None,
    Parameter(
        help="Write this file, tested and at one stroke; what was there before is kept as .FILE.bak."
    ),
]
ReloadNginx = Annotated[
    bool,
    Parameter(
        negative="",
        help="Then let the running nginx take it over, and wait until its old workers are gone.",
    ),
]
Live = Annotated[
    bool,
    Parameter(negative="", help="Take the addresses from the running service, not the settings."),
]
Json = Annotated[bool, Parameter(negative="", help="Print JSON, for machines.")]


def run_command(arguments: list[str]) -> int:
    """Parse the command line, run the command, return its exit code.

    Raises: UsageError: the input can't be understood.
    """
    if arguments[:2] == LINT.split():
        # The parser takes - for an option.
        arguments = [LINT, *("/dev/stdin" if word == "-" else word for word in arguments[2:])]
    own, app_arguments = split_app_arguments(arguments)

    def serve(settings: Settings) -> int:
        from tornado_multi.cli.serve import serve as run_serve

        for sentence in unknown_variables():
            print(f"tornado-multi: {sentence}", file=sys.stderr)
        return run_serve(settings, app_arguments, lambda: read_settings(own))

    app = App(
        name="tornado-multi",
        version=VERSION,
        help="Run a Tornado service as many supervised processes.",
        help_format="plaintext",
        help_formatter="plain",
        version_flags=["--version"],
        result_action="return_value",
    )
    asked = _asked(own)
    _refuse_options_of_others(asked, own)
    commands = {
        "serve": _Command(_serve(serve), SERVE_HELP, SERVE_GROUPS, shown=SERVE_SHOWN),
        "instances": _Command(
            _serve(serve, as_instances=True), INSTANCES_HELP, SERVE_GROUPS, shown=INSTANCES_SHOWN
        ),
        "check": _Command(_check(app_arguments), CHECK_HELP, SERVE_GROUPS, shown=CHECK_SHOWN),
        LINT: _Command(_nginx_lint, LINT_HELP, LINT_GROUPS, {"http"}, LINT_SHOWN),
        "nginx": _nginx_command(in_full=asked == NGINX),
        **CLIENT_COMMANDS,
    }
    for name, command in commands.items():
        # Only the command that was asked for reads the file: --help works with a broken one. And
        # only that one gets its options: building them costs milliseconds of every start.
        wants_values = name == asked and not {"-h", "--help"} & set(own)
        config = sources(own, command.keys, for_nginx=name == NGINX) if wants_values else []
        app.command(command.build(in_full=name == asked), name=name, config=config)
    if not own:
        app.help_print([])
        return ExitCode.USAGE
    code = run(app, own)
    return code if isinstance(code, int) else ExitCode.DONE


def _asked(arguments: list[str]) -> str | None:
    """Return the command's name."""
    return next((word for word in arguments if not word.startswith("-")), None)


def split_app_arguments(arguments: list[str]) -> tuple[list[str], AppArguments]:
    """Separate what follows ``--`` (for the app's tornado.options); None if there is no ``--``."""
    if "--" not in arguments:
        return arguments, None
    at = arguments.index("--")
    return arguments[:at], tuple(arguments[at + 1 :])


def read_settings(arguments: list[str]) -> Settings:
    """Read the settings of ``serve`` anew: the same command line, the file as it is now.

    Raises: UsageError: they can't be read any more.
    """
    app = App(result_action="return_value")
    name = _asked(arguments) or "serve"
    act = _serve(lambda settings: settings, as_instances=name == "instances")
    command = _Command(act, "", SERVE_GROUPS)
    app.command(command.build(in_full=True), name=name, config=sources(arguments))
    settings = run(app, arguments)
    assert isinstance(settings, Settings)
    return settings


def _refuse_options_of_others(command: str | None, arguments: list[str]) -> None:
    """Raises: UsageError: an option was typed that ``serve`` or ``instances`` has no use for."""
    other, mends = {"serve": ("instances", INSTANCES_ONLY), "instances": ("serve", SERVE_ONLY)}.get(
        command or "", ("", {})
    )
    typed = {word.partition("=")[0] for word in arguments}
    if found := typed & mends.keys():
        option = min(found)
        raise UsageError(f"{option} belongs to the command {other}; {mends[option]}")


@dataclass(frozen=True)
class _Command:
    """One command: what runs it, what --help says, and the groups of options that it takes."""

    function: Callable[..., Any]
    text: str
    groups: dict[str, type[Any]]
    keys: set[str] | None = None
    """What it reads of the file; None: everything, and an unknown key is an error."""
    shown: tuple[str, ...] | None = None
    """The options of its groups that --help lists; None: all."""

    def build(self, *, in_full: bool) -> Callable[..., Any]:
        """Return the function as cyclopts takes it; if not in full, fit for the list only."""
        function = self.function

        def call(*values: Any, **named: Any) -> Any:  # with_groups changes what it is given
            return function(*values, **named)

        call.__annotations__ = dict(function.__annotations__)
        call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # as it says
        return with_groups(call, self.text, self.groups if in_full else {}, self.shown)


def _serve(act: Callable[[Settings], Any], *, as_instances: bool = False) -> Callable[..., Any]:
    def serve(app: str, **groups: Any) -> Any:
        return act(build_settings(app, groups, as_instances=as_instances))

    serve.__annotations__["app"] = AppSpec
    return serve


def _check(app_arguments: AppArguments) -> Callable[..., Any]:
    def check(
        app: str,
        *,
        json: Json = False,
        strict_warnings: StrictWarnings = False,
        trace: Trace = False,
        factory: Factory = False,
        **groups: Any,
    ) -> int:
        from tornado_multi.cli.check import check as run_check

        return run_check(
            build_settings(app, groups),
            app_arguments,
            as_json=json,
            strict_warnings=strict_warnings,
            trace=trace,
            factory=factory,
        )

    check.__annotations__ |= {
        "app": AppSpec,
        "json": Json,
        "strict_warnings": StrictWarnings,
        "trace": Trace,
        "factory": Factory,
    }
    return check


def _nginx_lint(
    file: LintedFile, /, *, nginx_version: NginxVersion = None, json: Json = False, **groups: Any
) -> int:
    from tornado_multi.cli.nginx_lint import nginx_lint

    http = unmirror(HttpSettings, groups.get("http"))
    return nginx_lint(file, http, version=nginx_version, as_json=json)


def _nginx(
    app: str | None = None,
    *,
    part: Part = "all",
    check: NginxCheck = False,
    output: Output = None,
    reload_nginx: ReloadNginx = False,
    live: Live = False,
    json: Json = False,
    **groups: Any,
) -> int:
    from tornado_multi.cli.nginx import Asked, nginx
    from tornado_multi.settings.nginx import NginxSettings

    for sentence in unknown_variables():
        print(f"tornado-multi: {sentence}", file=sys.stderr)
    asked = Asked(part, check, output, reload_nginx, json, live)
    options = unmirror(NginxSettings, groups.pop(NGINX, None))
    return nginx(build_for_nginx(app, groups), options, asked)


def _nginx_command(*, in_full: bool) -> _Command:
    groups: dict[str, type[Any]] = {}
    shown: tuple[str, ...] = ()
    if in_full:  # no other command needs the class
        from tornado_multi.settings.nginx import NginxSettings

        groups = {NGINX: NginxSettings, **SERVE_GROUPS}
        shown = (*(item.name for item, _ in options_of(NginxSettings)), *NGINX_SHOWN)
    return _Command(_nginx, NGINX_HELP, groups, shown=shown)


def _status(*, json: Json = False, check: Check = False, **groups: Any) -> int:
    from tornado_multi.cli.status import status

    return status(unmirror(ControlSettings, groups.get("control")), as_json=json, check=check)


def _stop(*, json: Json = False, **groups: Any) -> int:
    from tornado_multi.cli.stop import stop

    return stop(unmirror(ControlSettings, groups.get("control")), as_json=json)


def _reload(*, json: Json = False, wait_drain: WaitDrain = True, **groups: Any) -> int:
    from tornado_multi.cli.running import reload

    control = unmirror(ControlSettings, groups.get("control"))
    return reload(control, as_json=json, wait_drain=wait_drain)


def _scale(workers: Count, /, *, json: Json = False, **groups: Any) -> int:
    from tornado_multi.cli.running import scale

    return scale(unmirror(ControlSettings, groups.get("control")), workers, as_json=json)


def _restart(fork_id: ForkId, /, *, json: Json = False, **groups: Any) -> int:
    from tornado_multi.cli.running import restart

    return restart(unmirror(ControlSettings, groups.get("control")), fork_id, as_json=json)


def _stacks(fork_id: OptionalForkId = None, /, *, json: Json = False, **groups: Any) -> int:
    from tornado_multi.cli.running import stacks

    return stacks(unmirror(ControlSettings, groups.get("control")), fork_id, as_json=json)


def _logs(
    *,
    follow: Follow = False,
    fork_id: ForkIds = (),
    level: Level = None,
    since: Since = None,
    grep: Grep = None,
    tail: Tail = None,
    log_dir: LogDir = None,
    log_file: LogFile = None,
    **groups: Any,
) -> int:
    from tornado_multi.cli.logs import LogQuery, logs

    query = LogQuery(follow, fork_id, level, since, grep, tail, log_dir, log_file)
    return logs(unmirror(ControlSettings, groups.get("control")), query)


for _function in (_status, _stop, _reload, _scale, _restart, _stacks):
    _function.__annotations__["json"] = Json
_nginx_lint.__annotations__ |= {"file": LintedFile, "nginx_version": NginxVersion, "json": Json}
_nginx.__annotations__ |= {
    "app": OptionalApp,
    "part": Part,
    "check": NginxCheck,
    "output": Output,
    "reload_nginx": ReloadNginx,
    "live": Live,
    "json": Json,
}
_status.__annotations__["check"] = Check
_reload.__annotations__["wait_drain"] = WaitDrain
_scale.__annotations__["workers"] = Count
_restart.__annotations__["fork_id"] = ForkId
_stacks.__annotations__["fork_id"] = OptionalForkId
_logs.__annotations__ |= {
    "follow": Follow,
    "fork_id": ForkIds,
    "level": Level,
    "since": Since,
    "grep": Grep,
    "tail": Tail,
    "log_dir": LogDir,
    "log_file": LogFile,
}


def _client(function: Callable[..., Any], text: str) -> _Command:
    """Return a command that talks to a running service."""
    return _Command(
        function, text, {"control": ControlSettings, "file": FileSettings}, control_keys()
    )


SERVE_GROUPS: dict[str, type[Any]] = {**GROUPS, "file": FileSettings}
SERVE_HELP = """Serve a Tornado app with several supervised worker processes.

Arguments after -- go to the app's own tornado.options.
"""
INSTANCES_HELP = """Serve a Tornado app with several one-process servers, each on an address of its own.

For a proxy such as nginx in front; the command nginx writes its configuration. Everything else is
as with serve. Arguments after -- go to the app's own tornado.options.
"""
SERVE_ONLY = {
    "--bind": "write --first-port PORT or --unix-dir DIR.",
    "--workers": "write --count.",
}
INSTANCES_ONLY = {
    "--count": "write --workers.",
    "--first-port": "write --bind HOST:PORT.",
    "--unix-dir": "write --bind unix:PATH.",
    "--host": "write --bind HOST:PORT.",
}


def _shown_without(flags: Collection[str]) -> tuple[str, ...]:
    """Return the names of all options of the service but those."""
    names = (key.rpartition(".")[2] for key in (*option_keys(), "config"))
    return tuple(name for name in names if f"--{name.replace('_', '-')}" not in flags)


SERVE_SHOWN = _shown_without(INSTANCES_ONLY)
INSTANCES_SHOWN = _shown_without(SERVE_ONLY)
CHECK_HELP = """Load a Tornado app as serve would, and name what its workers would share by accident.

Exits with 1 if there are errors. The other options of serve are taken too, so that a command line
can be kept, and change nothing. Arguments after -- go to the app's own tornado.options.
"""
CHECK_SHOWN = (
    "boot_timeout_s",
    "fork_safety_allow",
    "fork_safety_quarantine",
    "chdir",
    "config",
)
LINT = "nginx lint"
LINT_HELP = """Name what in an existing configuration of nginx would hurt a Tornado app behind it.

Exits with 1 for errors and warnings, and with 2 if the file can't be read.
"""
LINT_GROUPS: dict[str, type[Any]] = {"http": HttpSettings, "settings_file": FileSettings}
LINT_SHOWN = ("max_body_size_bytes", "idle_timeout_s", "config")
NGINX_HELP = """Print the configuration of nginx in front of the service, or write it and let nginx load it.

It is made of the settings of the service, whose options are taken too, and of the table [nginx] of
the file. Without --first-port and --unix-dir it leads to the addresses of --bind.
"""
NGINX_SHOWN = (
    *("bind", "count", "first_port", "unix_dir", "host", "drain_timeout_s", "health_path"),
    *("ready_path", "live_path"),
    *("name", "control", "tls_certificate", "xheaders", "trusted_downstream"),
    *("max_body_size_bytes", "idle_timeout_s", "header_timeout_s", "config"),
)
CLIENT_COMMANDS = {
    "status": _client(_status, "Show the running service: listeners, workers and their figures."),
    "reload": _client(_reload, "Load the app anew and replace every worker, or nothing at all."),
    "scale": _client(_scale, "Change the number of workers."),
    "restart": _client(_restart, "Replace one worker by a fresh one; no code is loaded anew."),
    "stacks": _client(_stacks, "Show what threads and tasks of the workers are doing."),
    "logs": _client(_logs, "Show what the service's processes have logged, by time."),
    "stop": _client(_stop, "Stop the running service: drain every worker, then leave."),
}
