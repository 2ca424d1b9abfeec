"""The table of commands: each one's name, what it parses, and the module that runs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.load import (
    FileSettings,
    build_settings,
    control_keys,
    run,
    sources,
    unknown_variables,
    unmirror,
    with_groups,
)
from tornado_multi.settings.model import GROUPS, ControlSettings, Settings
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

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
    Literal["debug", "info", "warning", "error", "critical"] | None,
    Parameter(help="Least level."),
]
Since = Annotated[
    str | None,
    Parameter(help="Not before: a time ago such as 10m, 2h or 1d, or 2026-11-25T10:00."),
]
Grep = Annotated[str | None, Parameter(help="Only records that hold this text.")]
Tail = Annotated[
    int | None,
    Parameter(
        validator=validators.Number(gte=1),
        help="At most so many, the youngest. Default: 100, or all with --since.",
    ),
]
LogDir = Annotated[
    str | None, Parameter(help="Read the files there, also when the service is not running.")
]
LogFile = Annotated[str | None, Parameter(help="Read this file, as above.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON, for machines.")]


def run_command(arguments: list[str]) -> int:
    """Parse the command line, run the command, return its exit code.

    Raises: UsageError: the input can't be understood.
    """
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
    known: dict[str, tuple[Callable[..., Any], set[str] | None]] = {
        "serve": (_serve_command(serve), None),
        "status": (_status, control_keys()),
        "reload": (_reload, control_keys()),
        "scale": (_scale, control_keys()),
        "restart": (_restart, control_keys()),
        "stacks": (_stacks, control_keys()),
        "logs": (_logs, control_keys()),
        "stop": (_stop, control_keys()),
    }
    asked = next((word for word in own if not word.startswith("-")), None)
    for name, (function, keys) in known.items():
        # Only the command that was asked for reads the file: --help works with a broken one.
        wants_values = name == asked and not {"-h", "--help"} & set(own)
        config = sources(own, keys) if wants_values else []
        app.command(function, name=name, config=config)
    if not own:
        app.help_print([])
        return ExitCode.USAGE
    code = run(app, own)
    return code if isinstance(code, int) else ExitCode.DONE


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
    app.command(_serve_command(lambda settings: settings), name="serve", config=sources(arguments))
    settings = run(app, arguments)
    assert isinstance(settings, Settings)
    return settings


def _serve_command(act: Callable[[Settings], Any]) -> Callable[..., Any]:
    def serve(app: str, **groups: Any) -> Any:
        return act(build_settings(app, groups))

    serve.__annotations__["app"] = AppSpec
    return with_groups(
        serve,
        """Serve a Tornado app with several supervised worker processes.

        Arguments after -- go to the app's own tornado.options.
        """,
        {**GROUPS, "file": FileSettings},
    )


def _status(*, json: Json = False, **groups: Any) -> int:
    from tornado_multi.cli.status import status

    return status(unmirror(ControlSettings, groups.get("control")), as_json=json)


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


_CLIENT_GROUPS: dict[str, type[Any]] = {"control": ControlSettings, "file": FileSettings}
for _function in (_status, _stop, _reload, _scale, _restart, _stacks):
    _function.__annotations__["json"] = Json
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
with_groups(_logs, "Show what the service's processes have logged, by time.", _CLIENT_GROUPS)
with_groups(
    _status, "Show the running service: listeners, workers and their figures.", _CLIENT_GROUPS
)
with_groups(
    _reload, "Load the app anew and replace every worker, or nothing at all.", _CLIENT_GROUPS
)
with_groups(_scale, "Change the number of workers.", _CLIENT_GROUPS)
with_groups(_restart, "Replace one worker by a fresh one; no code is loaded anew.", _CLIENT_GROUPS)
with_groups(_stacks, "Show what threads and tasks of the workers are doing.", _CLIENT_GROUPS)
with_groups(_stop, "Stop the running service: drain every worker, then leave.", _CLIENT_GROUPS)
