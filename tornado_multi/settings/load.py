"""From command line, environment and file to settings, by cyclopts.

The classes of ``model`` are mirrored into ones that cyclopts understands; nothing is written twice.
Precedence: flag > environment > file > default. Every value remembers where it came from, and an
error names the option, the value, its source and what is allowed.
Runs in: commands and (it is the same process) the supervisor. Reads the environment and one file.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import tomllib
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.config import Dict, Env
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from tornado_multi.settings.model import (
    GROUPS,
    TABLES,
    ControlSettings,
    InstanceSettings,
    Option,
    Settings,
    option,
    option_keys,
    options_of,
)
from tornado_multi.settings.paths import typed_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cyclopts import Argument, ArgumentCollection, Token

ENVIRONMENT_PREFIX = "TORNADO_MULTI_"
LEAST_LIKENESS = 0.6
DEFAULT_FILE = "tornado_multi.toml"
NGINX = "nginx"
"""The table of the file, and the part of variables, that belong to the command of this name alone."""
FILE_TABLES = TABLES | {NGINX}


class ItemError(ValueError):
    """One value of an option that may be repeated is not allowed."""

    def __init__(self, sentence: str, item: object) -> None:
        super().__init__(sentence)
        self.item = item


class UsageError(ValueError):
    """What the user asked for can't be understood; the text is one or more full sentences."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileSettings:
    """Configuration file."""

    config: str | None = option(
        None,
        f"TOML file with options. Default: {DEFAULT_FILE} in the working directory, if it exists.",
    )


# --- mirroring ------------------------------------------------------------------------------------


def _validator(declared: Option, default: object) -> Callable[[Any, Any], None]:
    def validate(_type: Any, value: Any) -> None:
        if value is None:
            return
        if value == () and default != ():
            raise ValueError("must have at least one value")
        for item in value if isinstance(value, tuple) else (value,):
            if declared.check is not None:
                try:
                    declared.check(item)
                except ValueError as error:
                    raise ItemError(str(error), item) from error
            low, high = declared.at_least, declared.at_most
            if isinstance(item, (int, float)) and not isinstance(item, bool):
                # Written so that NaN, which compares false with everything, is refused too.
                if (low is not None and not item >= low) or (high is not None and not item <= high):
                    raise ValueError(f"must be {range_text(low, high)}")
                if item != item or item in (float("inf"), float("-inf")):  # noqa: PLR0124
                    raise ValueError("must be a finite number")

    return validate


def _splitting(separator: str | None) -> dict[str, Any]:
    """Return what makes cyclopts split a variable at *separator* instead of white space."""
    if separator is None:
        return {}

    def split(_type: Any, text: str, **_: Any) -> list[str]:
        return [part.strip() for part in text.split(separator) if part.strip()]

    return {"env_var_split": split}


def _whole_number(_type: Any, tokens: Sequence[Token]) -> int:
    # cyclopts itself rounds: 1.5 would become 2.
    return int(tokens[0].value)


def range_text(low: float | None, high: float | None) -> str:
    """Say a range as people write it: ``1..65535``, ``at least 0.1``, or nothing."""
    if low is not None and high is not None:
        return f"{low:g}..{high:.12g}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:.12g}" if high is not None else ""


def mirror(
    group: type[Any],
    *,
    table: str | None = None,
    shown: Collection[str] | None = None,
    variables: str | None = None,
) -> Any:
    """Return an annotated type for a cyclopts signature that parses into *group*'s fields.

    Args:
        shown: the options that --help lists; None: all.
        variables: what names in the environment begin with, if it is not the ordinary way.
    """
    hints = get_type_hints(group)
    panel = Group(_title(group), sort_key=_panel_order(group))
    fields = []
    for item, declared in options_of(group):
        parameter = Parameter(
            help=declared.help,
            validator=_validator(declared, item.default),
            converter=_whole_number if hints[item.name] in {int, int | None} else None,
            group=panel,
            show=shown is None or item.name in shown,
            negative=None if hints[item.name] is bool else "",  # no --empty-bind
            env_var=f"{variables}{item.name.upper()}" if variables else None,
            show_env_var=False,
            **_splitting(declared.separator),
        )
        annotated: Any = Annotated.__class_getitem__((hints[item.name], parameter))  # type: ignore[attr-defined]  # a type made at run time
        fields.append((item.name, annotated, dataclasses.field(default=item.default)))
    made = dataclasses.make_dataclass(group.__name__, fields, frozen=True, kw_only=True)
    made.__module__ = __name__  # cyclopts takes classes of the module "types" for built-in ones
    return Annotated[made, Parameter(name=table or "*", group=panel)]


def _title(group: type[Any]) -> str:
    return (group.__doc__ or "").strip().rstrip(".")


def _panel_order(group: type[Any]) -> int:
    order = [*GROUPS.values(), FileSettings]
    return order.index(group) if group in order else -1  # of one command alone: it comes first


def unmirror(group: type[Any], parsed: object | None) -> Any:
    """Turn what cyclopts built into the group's own class; None (nothing was given) = defaults."""
    if parsed is None:
        return group()
    return group(**{item.name: getattr(parsed, item.name) for item in dataclasses.fields(group)})


# --- the file -------------------------------------------------------------------------------------


def find_file(arguments: Sequence[str]) -> tuple[Path, bool]:
    """Return the configuration file's path and whether the user named it.

    The path is needed before the arguments can be parsed, so the one flag is looked up by hand.
    """
    named: str | None = os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            named = arguments[index + 1]
        elif argument.startswith("--config="):
            named = argument.removeprefix("--config=")
    # As typed: a reload finds the file of the release that a link leads to by then.
    return Path(typed_directory(), named or DEFAULT_FILE), bool(named)


def read_file(path: Path, *, named: bool, keys: set[str] | None = None) -> dict[str, Any]:
    """Read the configuration file and refuse keys that no option has.

    Args: keys: return only these, and don't mind the others (a command that knows few options).
    Raises: UsageError: unreadable, no TOML, or an unknown key (with the nearest known one).
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not named:
            return {}
        raise UsageError(f"The configuration file {path} does not exist.") from None
    except OSError as error:
        raise UsageError(f"Can't read the configuration file {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error
    if keys is not None:
        return {key: value for key, value in values.items() if key in keys}
    _unfold_fork_safety(values)
    known = _known_keys()
    for key, value in values.items():
        if key in FILE_TABLES:
            if not isinstance(value, dict):
                raise UsageError(f"{key} (in {path}) must be a table: [{key}].")
            for inner in value:
                _refuse_unknown(f"{key}.{inner}", known, path)
        else:
            _refuse_unknown(key, known, path)
            if isinstance(value, dict):
                raise UsageError(f"{key} (in {path}) must be a value, not a table.")
    return values


def _prefer_typed_place(values: dict[str, Any], arguments: Sequence[str]) -> None:
    """Let a flag that says where instances listen win over the other way to say it in the file."""
    typed = {argument.partition("=")[0] for argument in arguments}
    for flag, other in (("--first-port", "unix_dir"), ("--unix-dir", "first_port")):
        if flag in typed:
            values.pop(other, None)


def _unfold_fork_safety(values: dict[str, Any]) -> None:
    """Take ``[fork_safety] allow`` for ``fork_safety_allow``: the one name can't be both in TOML."""
    table = values.get("fork_safety")
    if isinstance(table, dict):
        del values["fork_safety"]
        for key, value in table.items():
            values["fork_safety" if key == "mode" else f"fork_safety_{key}"] = value


def _known_keys() -> list[str]:
    from tornado_multi.settings.nginx import NginxSettings  # status has no use for it

    return [
        "app",
        *option_keys(),
        *(f"{NGINX}.{item.name}" for item, _ in options_of(NginxSettings)),
    ]


def _refuse_unknown(key: str, known: list[str], path: Path) -> None:
    if key in known:
        return
    nearest = difflib.get_close_matches(key, [*known, *FILE_TABLES], n=1, cutoff=0.55)
    if not nearest:  # the right name in the wrong table
        nearest = [
            other for other in known if other.split(".")[-1] == key.rsplit(".", maxsplit=1)[-1]
        ]
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise UsageError(f"Unknown key {key} in {path}.{hint}")


# --- commands -------------------------------------------------------------------------------------


class _Environment(Env):
    """The environment, without options that name their variables themselves."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        kind = type(arguments)
        ordinary = kind(item for item in arguments if not item.parameter.env_var)
        super().__call__(app, commands, ordinary)


def sources(
    arguments: Sequence[str], keys: set[str] | None = None, *, for_nginx: bool = False
) -> list[Any]:
    """Return cyclopts' value sources below the command line: environment, then file.

    Args:
        keys: take only these from the file (a command that knows few options), None = all.
        for_nginx: the command takes what stands in the table [nginx]; others pass it over.
    Raises: UsageError: see ``read_file``.
    """
    path, named = find_file(arguments)
    values = read_file(path, named=named, keys=keys)
    _prefer_typed_place(values, arguments)
    return _sources_of(values, path, for_nginx=for_nginx)


def _sources_of(values: dict[str, Any], path: Path, *, for_nginx: bool = False) -> list[Any]:
    table = values.pop(NGINX, {})
    if for_nginx:  # no name stands in both: tests/unit/settings/test_nginx.py
        values |= table
    return [
        _Environment(ENVIRONMENT_PREFIX, command=False),
        Dict(values, source=str(path), use_commands_as_keys=False),
    ]


def with_groups(
    function: Callable[..., Any],
    text: str,
    groups: dict[str, type[Any]],
    shown: Collection[str] | None = None,
) -> Callable[..., Any]:
    """Give *function* a signature of keyword-only option groups, and its help text.

    Args: shown: the options that --help lists; None: all. It takes the others too.
    """
    signature = inspect.signature(function)
    parameters = [
        item.replace(annotation=function.__annotations__[item.name])
        for item in signature.parameters.values()
        if item.kind is not item.VAR_KEYWORD
    ]
    annotations: dict[str, Any] = {
        name: hint for name, hint in function.__annotations__.items() if name != "groups"
    }
    for name, group in groups.items():
        hint = mirror(
            group,
            table=name if name in TABLES else None,
            shown=shown,
            variables=f"{ENVIRONMENT_PREFIX}{NGINX.upper()}_" if name == NGINX else None,
        )
        annotations[name] = hint
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=hint,
                default=hint.__origin__(),
            )
        )
    function.__annotations__ = annotations
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]  # cyclopts reads it
        parameters=parameters, return_annotation=int
    )
    function.__doc__ = inspect.cleandoc(text)
    return function


def control_keys() -> set[str]:
    """The file keys that the commands to a running supervisor read."""
    return {item.name for item, _ in options_of(ControlSettings)}


def build_settings(app: str, groups: dict[str, object], *, as_instances: bool = False) -> Settings:
    """Assemble the settings from the parsed groups, by their names in ``GROUPS``.

    Args: as_instances: for the command of this name: each worker has an address of its own.
    Raises: UsageError: what was given does not fit together.
    """
    module, _, attribute = app.partition(":")
    if module.endswith(".py"):
        module = module.removesuffix(".py").strip("./").replace("/", ".")
        raise UsageError(
            f"APP names a module, not a file: did you mean {module}:{attribute or 'make_app'}?"
        )
    if not (module and attribute):
        raise UsageError(
            f"APP must be module:attr, for example {module or 'shop'}:make_app, not {app!r}."
        )
    settings = _assemble(app, groups)
    if not as_instances:
        return dataclasses.replace(settings, instances=InstanceSettings())
    refuse_bad_instances(settings.instances)
    workers = dataclasses.replace(settings.workers, workers=settings.instances.count)
    return dataclasses.replace(settings, workers=workers)


def build_for_nginx(app: str | None, groups: dict[str, object]) -> Settings:
    """Assemble the settings for a command that writes about the service and never loads the app.

    Raises: UsageError: what was given does not fit together.
    """
    if app is not None and not all(app.partition(":")):
        raise UsageError(
            f"APP must be module:attr, for example shop:make_app, not {app!r}. A switch takes no "
            "value: --no-gzip, or --gzip=false."
        )
    settings = _assemble(app or "app", groups)
    if settings.instances.is_asked:
        refuse_bad_instances(settings.instances)
    return settings


def refuse_bad_instances(instances: InstanceSettings) -> None:
    """Raises: UsageError: it is not said where they listen, or there are too few ports."""
    if not instances.is_asked:
        raise UsageError(
            "instances needs to know where they listen: --first-port 8001, or --unix-dir /run/shop."
        )
    if instances.first_port is not None and instances.unix_dir is not None:
        raise UsageError(
            f"first_port={instances.first_port} and unix_dir={instances.unix_dir}: only one of them "
            "can be given."
        )
    if instances.count != "auto" and int(instances.count) > instances.most_instances():
        raise UsageError(
            f"first_port={instances.first_port} and count={instances.count}: the ports end at "
            f"65535, so that there is room for {instances.most_instances()}."
        )


def _assemble(app: str, groups: dict[str, object]) -> Settings:
    settings = Settings(
        app=app, **{name: unmirror(GROUPS[name], groups.get(name)) for name in GROUPS}
    )
    logging = settings.logging
    if logging.log_dir is not None and logging.log_file is not None:
        raise UsageError(
            f"log_dir={logging.log_dir} and log_file={logging.log_file}: only one of them can be "
            "given. log_dir makes one file per worker, log_file one for all."
        )
    workers = settings.workers
    if {workers.max_surge, workers.max_unavailable} <= {"0", "0%"}:
        raise UsageError(
            f"max_surge={workers.max_surge} and max_unavailable={workers.max_unavailable}: a reload "
            "could replace nobody. Let one of them be 1 or more."
        )
    return settings


def read_script_settings(app: str) -> Settings:
    """Return the settings of a script that forks by itself: from environment and file alone.

    Raises: UsageError: a value is wrong, or the file can't be read.
    """

    def script(**groups: Any) -> Settings:
        return _assemble(app, groups)

    path, named = find_file([])
    values = read_file(path, named=named)
    values.pop("app", None)  # the script is the app
    parser = App(result_action="return_value")
    command = with_groups(script, "", {**GROUPS, "file": FileSettings})
    parser.command(command, name="script", config=_sources_of(values, path))
    settings = run(parser, ["script"])
    assert isinstance(settings, Settings)
    return settings


def run(app: App, arguments: Sequence[str]) -> object:
    """Parse and run one command.

    Raises: UsageError: in place of all that cyclopts raises about the user's input.
    """
    try:
        return app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UsageError(explain(error)) from error


def explain(error: CycloptsError) -> str:
    """Say one of cyclopts' errors as: option=value (from where): what is allowed."""
    argument = error.argument
    match error:
        case ValidationError() if argument is not None and argument.tokens:
            guilty = _guilty(argument.tokens, error.__cause__)
            return f"{_given(guilty, _positional(argument))}: {error.exception_message}"
        case CoercionError():
            token = error.token or (argument.tokens[-1] if argument and argument.tokens else None)
            hint = _wanted(error.target_type, argument.hint if argument else None)
            if token is not None:
                return f"{_given(token, _positional(argument))}: must be {hint}"
        case MissingArgumentError() if argument is not None and argument.name == "--app":
            command = " ".join(error.command_chain or ()) or "serve"
            return (
                f"{command} needs an app: tornado-multi {command} MODULE:ATTR, or app in the file."
            )
        case UnusedCliTokensError() if error.unused_tokens:
            command = " ".join(error.command_chain or ())
            return f"{command} takes no argument {error.unused_tokens[0]!r}."
        case UnknownOptionError():
            return _unknown_option(error)
    return " ".join(str(error).split())


def unknown_variables() -> list[str]:
    """Return one sentence for each variable of ours in the environment that no option reads."""
    known = [
        f"{ENVIRONMENT_PREFIX}{key.replace('.', '_').upper()}" for key in [*_known_keys(), "config"]
    ]
    found = [
        name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    ]
    sentences = []
    for name in sorted(found):
        # Without the prefix, which makes everything look alike.
        wanted = [item.removeprefix(ENVIRONMENT_PREFIX) for item in known]
        own = name.removeprefix(ENVIRONMENT_PREFIX)
        nearest = difflib.get_close_matches(own, wanted, n=1, cutoff=0.7)
        hint = f" Did you mean {ENVIRONMENT_PREFIX}{nearest[0]}?" if nearest else ""
        sentences.append(f"The environment variable {name} is ignored: no option has it.{hint}")
    return sentences


def _guilty(tokens: Sequence[Token], cause: BaseException | None) -> Token:
    """Return what was given for the value that is refused; the last, if that is not known."""
    item = cause.item if isinstance(cause, ItemError) else None
    return next((token for token in tokens if token.value == item), tokens[-1])


def _positional(argument: Argument | None) -> str:
    return "" if argument is None else argument.field_info.name.upper()


def _unknown_option(error: UnknownOptionError) -> str:
    text = " ".join(str(error).split())
    if "--port" in text or "--address" in text:
        return f"{text.partition(' Did you')[0]} Write --bind HOST:PORT."
    if "--strict-warnings" in text and "serve" in (error.command_chain or ()):
        return (
            "--strict-warnings is an option of check. serve refuses errors with --fork-safety "
            "strict, and serves in spite of warnings: run tornado-multi check APP --strict-warnings "
            "before it."
        )
    head, _, suggested = text.partition(" Did you mean ")
    if "from" not in head and not _is_alike(head, suggested):
        text = f"{head} Options of the app itself go after --."
    return text


def _is_alike(head: str, suggested: str) -> bool:
    """Tell whether a suggestion is near enough to what was typed, the last word of *head*."""
    typed, found = (text.strip(' "?.-') for text in (head.rsplit(maxsplit=1)[-1], suggested))
    return difflib.SequenceMatcher(a=typed, b=found).ratio() > LEAST_LIKENESS


def _given(token: Token, positional: str) -> str:
    name = (token.keyword or positional).strip("[]").replace("][", ".")
    if token.source == "env":
        return f"{name}={token.value} (from the environment)"
    source = "the command line" if token.source in {"cli", ""} else token.source
    return f"{name}={token.value} (from {source})"


def _wanted(target: Any, hint: Any) -> str:
    for kind in (hint, target):
        if get_origin(kind) is Literal:
            return " or ".join(str(value) for value in get_args(kind))
    kinds = get_args(target) if get_origin(target) in {Union, UnionType} else (target,)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return next((words[kind] for kind in kinds if kind in words), str(target))
