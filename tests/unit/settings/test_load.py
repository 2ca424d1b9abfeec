"""From command line, environment and file to settings."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tornado_multi.cli.commands import read_settings, run_command
from tornado_multi.settings.load import (
    ENVIRONMENT_PREFIX,
    UsageError,
    find_file,
    mirror,
    range_text,
    read_file,
    unmirror,
)
from tornado_multi.settings.model import (
    GROUPS,
    TABLES,
    ControlSettings,
    HttpSettings,
    ListenSettings,
    Settings,
    options_of,
)

# Texts that are allowed and no default; numbers, choices and switches are made up below.
TEXTS: dict[str, Any] = {
    "bind": ("127.0.0.1:1", "unix:/s?mode=660"),
    "workers": "3",
    "name": "shop",
    "control": "/run/shop.sock",
    "chdir": "/srv/shop",
    "pid_file": "shop.pid",
    "trusted_downstream": ("10.0.0.1", "10.0.0.2"),
    "max_surge": "50%",
    "health_path": "/health",
    "max_unavailable": "1",
    "ready_path": "/ready",
    "live_path": "/live",
    "fork_safety_allow": ("shop/settings.py:31 it only logs", "thread it ends by itself"),
    "fork_safety_quarantine": ("sockets", "random"),
    "user": "shop",
    "group": "staff",
    "umask": "027",
    "on_starting": "shop.hooks:on_starting",
    "before_fork": "shop.hooks:before_fork",
    "after_fork": "shop.hooks:after_fork",
    "on_ready": "shop.hooks:on_ready",
    "on_drain": "shop.hooks:on_drain",
    "on_worker_exit": "shop.hooks:on_worker_exit",
    "on_reload": "shop.hooks:on_reload",
    "log_dir": "/var/log/shop",
    "log_file": "/var/log/shop.log",
    "tls_certificate": "/etc/shop/chain.pem",
    "tls_key": "/etc/shop/key.pem",
    "tls_client_ca": "/etc/shop/clients.pem",
}
OPTIONS = {
    f"{group}.{item.name}" if group in TABLES else item.name: (group, item, declared)
    for group in GROUPS
    if group != "instances"  # which serve leaves aside; see test_instances
    for item, declared in options_of(GROUPS[group])
}
"""key -> (group, field, what it declares)"""


def example(key: str) -> Any:
    """Return an allowed value of an option that is no default and no other option's value."""
    if key in TEXTS:
        return TEXTS[key]
    group, item, declared = OPTIONS[key]
    hint = get_type_hints(GROUPS[group])[item.name]
    if hint is bool:
        return True
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is Literal:
            return next(value for value in get_args(kind) if value != item.default)
    kind = next(kind for kind in (*get_args(hint), hint) if kind in {int, float})
    return kind((declared.at_least or 0) + 1 + list(OPTIONS).index(key))


ALONE = {"log_file"}
"""Options that can't be given together with all others."""
VALUES: dict[str, Any] = {key: example(key) for key in OPTIONS if key not in ALONE}
DURATIONS = [key for key in OPTIONS if key.endswith("_s")]

Serve = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable but what a test gives."""
    monkeypatch.chdir(tmp_path)
    for name in OPTIONS:
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.delenv(f"{ENVIRONMENT_PREFIX}CONFIG", raising=False)
    monkeypatch.delenv(f"{ENVIRONMENT_PREFIX}APP", raising=False)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Read the settings of ``serve`` as the command does."""

    def read(
        *arguments: str,
        env: dict[str, str] | None = None,
        file: str | None = None,
        app: str | None = "shop:make_app",
    ) -> Settings:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        if file is not None:
            (tmp_path / "tornado_multi.toml").write_text(file, encoding="utf-8")
        return read_settings(["serve", *([app] if app else []), *arguments])

    return read


def refusal(serve: Serve, *arguments: str, **sources: Any) -> str:
    """Return what is said to arguments that are refused, with the directory left out."""
    with pytest.raises(UsageError) as caught:
        serve(*arguments, **sources)
    return str(caught.value).replace(f"{os.getcwd()}/", "")


def flag_of(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def variable_of(key: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{key.replace('.', '_').upper()}"


def toml_of(key: str, value: object) -> str:
    table, _, name = key.rpartition(".")
    texts = {True: "true", False: "false"}
    if isinstance(value, tuple):
        text = str(list(value))
    elif isinstance(value, bool):
        text = texts[value]
    else:
        text = f"'{value}'" if isinstance(value, str) else str(value)
    return (f"[{table}]\n" if table else "") + f"{name} = {text}\n"


def flags_of(key: str, value: object) -> list[str]:
    if isinstance(value, tuple):
        return [part for item in value for part in (flag_of(key), item)]
    return [flag_of(key)] if value is True else [flag_of(key), str(value)]


def value_of(settings: Settings, key: str) -> object:
    group, item, _ = OPTIONS[key]
    return getattr(getattr(settings, group), item.name)


def values_of(settings: Settings) -> dict[str, object]:
    """Return the options that can be given together; the others must not have been given."""
    assert [None] * len(ALONE) == [value_of(settings, key) for key in ALONE]
    return {key: value_of(settings, key) for key in VALUES}


def text_of(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- each option, from each source ----------------------------------------------------------------


def test_the_examples_are_no_defaults() -> None:
    """An option that is not taken must show."""
    defaults = values_of(Settings(app="x:y"))

    assert [] == [key for key, value in VALUES.items() if value == defaults[key]]


def test_without_anything_the_defaults_hold(serve: Serve) -> None:
    """No flag, no variable, no file."""
    assert Settings(app="shop:make_app") == serve()


def test_every_option_is_taken_from_the_command_line(serve: Serve) -> None:
    """Each flag sets its own option."""
    flags = [part for key, value in VALUES.items() for part in flags_of(key, value)]

    assert VALUES == values_of(serve(*flags))


def test_every_option_is_taken_from_the_environment(serve: Serve) -> None:
    """Each variable sets its own option."""
    env = {variable_of(key): text_of(value) for key, value in VALUES.items()}
    separated = {
        key: declared.separator.join(VALUES[key])
        for key, (_, _, declared) in OPTIONS.items()
        if declared.separator is not None
    }
    env |= {variable_of(key): text for key, text in separated.items()}

    assert VALUES == values_of(serve(env=env))
    assert separated


def test_every_option_is_taken_from_the_file(serve: Serve) -> None:
    """Each key sets its own option; tables are tables."""
    flat = [toml_of(key, value) for key, value in VALUES.items() if "." not in key]
    tables = {
        table: [toml_of(key, value) for key, value in VALUES.items() if key.startswith(f"{table}.")]
        for table in TABLES
    }
    lines = "".join(flat)
    for table, inner in tables.items():
        lines += f"[{table}]\n" + "".join(line.removeprefix(f"[{table}]\n") for line in inner)

    assert VALUES == values_of(serve(file=lines))


@pytest.mark.parametrize("key", ALONE)
def test_an_option_that_stands_alone_is_taken_from_each_source(serve: Serve, key: str) -> None:
    """Flag, variable and key."""
    value = example(key)
    name = variable_of(key)

    assert value == value_of(serve(*flags_of(key, value)), key)
    assert value == value_of(serve(file=toml_of(key, value)), key)
    assert value == value_of(serve(file="", env={name: text_of(value)}), key)


def test_a_directory_and_a_file_for_logs_exclude_each_other(serve: Serve) -> None:
    """Whoever gives which: the sentence says what each means."""
    said = refusal(serve, "--log-dir=/a", env={"TORNADO_MULTI_LOG_FILE": "/b.log"})

    assert (
        "log_dir=/a and log_file=/b.log: only one of them can be given. log_dir makes one file per "
        "worker, log_file one for all."
    ) == said


def test_the_table_of_fork_safety(serve: Serve) -> None:
    """[fork_safety] mode, allow and quarantine are the options fork_safety, fork_safety_..."""
    lines = '[fork_safety]\nmode = "strict"\nallow = ["thread it ends"]\nquarantine = ["none"]\n'
    found = serve(file=lines).safety

    assert ("strict", ("thread it ends",), ("none",)) == (
        found.fork_safety,
        found.fork_safety_allow,
        found.fork_safety_quarantine,
    )


def test_an_unknown_key_in_the_table_of_fork_safety(serve: Serve) -> None:
    """It is refused with the nearest key."""
    said = refusal(serve, file='[fork_safety]\nalow = ["thread it ends"]\n')

    assert "Did you mean fork_safety_allow?" in said


@pytest.mark.parametrize("key", ["backlog", "workers", "xheaders", "http.idle_timeout_s"])
def test_an_option_sets_nothing_but_itself(serve: Serve, key: str) -> None:
    """All others keep their defaults."""
    defaults = values_of(Settings(app="shop:make_app"))

    assert defaults | {key: VALUES[key]} == values_of(serve(*flags_of(key, VALUES[key])))


# --- precedence -----------------------------------------------------------------------------------


def test_flag_before_environment_before_file_before_default(serve: Serve) -> None:
    """The nearer to the user, the stronger."""
    env, file = {"TORNADO_MULTI_WORKERS": "3"}, "workers = 4\n"

    assert "auto" == serve().workers.workers
    assert "4" == serve(file=file).workers.workers
    assert "3" == serve(file=file, env=env).workers.workers
    assert "2" == serve("--workers", "2", file=file, env=env).workers.workers


def test_precedence_holds_for_each_option_of_a_table(serve: Serve) -> None:
    """A table's options come from different sources at once."""
    http = serve(
        "--http.idle-timeout-s",
        "5",
        env={"TORNADO_MULTI_HTTP_BODY_TIMEOUT_S": "6", "TORNADO_MULTI_HTTP_IDLE_TIMEOUT_S": "7"},
        file="[http]\nidle_timeout_s = 3\nheader_timeout_s = 4\nbody_timeout_s = 8\n",
    ).http

    assert HttpSettings(idle_timeout_s=5.0, header_timeout_s=4.0, body_timeout_s=6.0) == http


def test_a_list_is_replaced_whole(serve: Serve) -> None:
    """Addresses of two sources are not mixed: the service listens where the stronger one says."""
    file = "bind = ['127.0.0.1:1', '127.0.0.1:2']\n"

    assert ("127.0.0.1:3",) == serve("--bind", "127.0.0.1:3", file=file).listen.bind


def test_a_switch_can_be_switched_off_again(serve: Serve) -> None:
    """--no-xheaders beats a file that switches it on."""
    assert not serve("--no-xheaders", file="xheaders = true\n").proxy.xheaders
    assert serve("--xheaders", file="xheaders = false\n").proxy.xheaders


def test_an_empty_list_of_addresses_in_the_environment_is_none(serve: Serve) -> None:
    """A variable that is set to nothing is as good as not set: compose files do that."""
    assert ("127.0.0.1:8888",) == serve(env={"TORNADO_MULTI_BIND": ""}).listen.bind


# --- the app --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["argument", "flag", "environment", "file"])
def test_the_app_can_be_named_anywhere(serve: Serve, source: str) -> None:
    """A container may have it in its environment, a project in its file."""
    settings = {
        "argument": serve,
        "flag": lambda: serve("--app", "shop:make_app", app=None),
        "environment": lambda: serve(env={"TORNADO_MULTI_APP": "shop:make_app"}, app=None),
        "file": lambda: serve(file="app = 'shop:make_app'\n", app=None),
    }[source]()

    assert "shop:make_app" == settings.app


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("shop", "APP must be module:attr, for example shop:make_app, not 'shop'."),
        ("shop:", "APP must be module:attr, for example shop:make_app, not 'shop:'."),
        (":make_app", "APP must be module:attr, for example shop:make_app, not ':make_app'."),
        ("", "APP must be module:attr, for example shop:make_app, not ''."),
    ],
)
def test_an_app_without_module_or_attribute_is_refused(serve: Serve, app: str, said: str) -> None:
    """Before anything is opened or started."""
    assert said == refusal(serve, "--app", app, app=None)


def test_a_missing_app_is_refused(serve: Serve) -> None:
    """There is no default app."""
    assert "serve needs an app" in refusal(serve, app=None)


def test_a_missing_app_is_refused_in_the_words_of_the_command() -> None:
    """Whoever has typed check is not told of serve."""
    with pytest.raises(UsageError, match=r"^check needs an app: tornado-multi check MODULE:ATTR"):
        run_command(["check"])


def test_an_option_of_check_is_explained(serve: Serve) -> None:
    """The service has another way to refuse, and the message names it."""
    said = refusal(serve, "--strict-warnings")

    assert "--fork-safety strict" in said
    assert "tornado-multi check APP --strict-warnings" in said


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
def test_a_wrong_entry_of_several_is_refused_under_its_own_name(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Not under that of the last one."""
    entries = ["thread it ends", "pipe", "sqlite it is closed"]
    arguments = [f"--fork-safety-allow={entry}" for entry in entries]
    if source == "variable":
        monkeypatch.setenv("TORNADO_MULTI_FORK_SAFETY_ALLOW", ";".join(entries))
    elif source == "file":
        (tmp_path / "tornado_multi.toml").write_text(f"fork_safety_allow = {entries}")
    said = refusal(serve, *(arguments if source == "flag" else []))

    assert "=pipe (from " in said
    assert "and the reason" in said


def test_the_help_of_check_has_the_options_that_it_uses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It takes those of serve, but lists only what changes something."""
    assert 0 == run_command(["check", "--help"])
    listed = set(re.findall(r"^  (?:APP, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))

    assert {
        *("--app", "--json", "--strict-warnings", "--trace", "--factory", "--boot-timeout-s"),
        *("--fork-safety-allow", "--fork-safety-quarantine", "--chdir", "--config"),
    } == listed


# --- wrong values ---------------------------------------------------------------------------------

WRONG = [
    # key, what is given, what is allowed
    ("bind", "8888", "must be host:port, unix:/path or fd://N; did you mean 127.0.0.1:8888?"),
    ("backlog", "0", "must be 1..65535"),
    ("backlog", "65536", "must be 1..65535"),
    ("backlog", "many", "must be a whole number"),
    ("backlog", "1.5", "must be a whole number"),
    ("max_connections", "0", "must be at least 1"),
    ("max_connections", "0.5", "must be a whole number"),
    ("workers", "0", "must be 1..2048 or auto"),
    ("workers", "2049", "must be 1..2048 or auto"),
    ("workers", "two", "must be 1..2048 or auto"),
    ("workers", "-1", "must be 1..2048 or auto"),
    ("workers", "1.5", "must be 1..2048 or auto"),
    ("loop", "trio", "must be uvloop or asyncio"),
    ("boot", "eager", "must be preload or lazy"),
    ("max_surge", "some", "must be a number of workers such as 2, or a share such as 25%"),
    ("health_path", "health", "must be a path that begins with /, without spaces"),
    ("boot_timeout_s", "0", "must be 0.1..86400"),
    ("boot_timeout_s", "soon", "must be a number"),
    ("drain_timeout_s", "-1", "must be 0..86400"),
    ("drain_idle_s", "3601", "must be 0..3600"),
    ("name", "a/b", "must be a file name without slashes that doesn't begin with a dot"),
    ("name", ".hidden", "must be a file name without slashes that doesn't begin with a dot"),
    ("log_format", "xml", "must be text or json"),
    ("http.max_body_size_bytes", "-1", "must be at least 0"),
    ("http.idle_timeout_s", "0", "must be at least 0.1"),
    ("http.body_timeout_s", "never", "must be a number"),
]


@pytest.mark.parametrize(("key", "text", "allowed"), WRONG)
def test_a_wrong_flag_is_refused(serve: Serve, key: str, text: str, allowed: str) -> None:
    """The message names the flag, the value, the command line and what is allowed."""
    assert f"{flag_of(key)}={text} (from the command line): {allowed}" == refusal(
        serve, flag_of(key), text
    )


@pytest.mark.parametrize(("key", "text", "allowed"), WRONG[::3])
def test_a_wrong_variable_is_refused(serve: Serve, key: str, text: str, allowed: str) -> None:
    """The message names the variable, the value, the environment and what is allowed."""
    assert f"{variable_of(key)}={text} (from the environment): {allowed}" == refusal(
        serve, env={variable_of(key): text}
    )


@pytest.mark.parametrize(("key", "text", "allowed"), WRONG[::3])
def test_a_wrong_value_in_the_file_is_refused(
    serve: Serve, key: str, text: str, allowed: str
) -> None:
    """The message names the key, the value, the file and what is allowed."""
    assert f"{key}={text} (from tornado_multi.toml): {allowed}" == refusal(
        serve, file=toml_of(key, text)
    )


@pytest.mark.parametrize("key", ["xheaders", "http.decompress"])
def test_a_wrong_switch_is_refused(serve: Serve, key: str) -> None:
    """True or false; in the file and the environment also as a text."""
    said = "must be true or false"

    assert f"{flag_of(key)}=maybe (from the command line): {said}" == refusal(
        serve, f"{flag_of(key)}=maybe"
    )
    assert f"{key}=maybe (from tornado_multi.toml): {said}" == refusal(
        serve, file=toml_of(key, "maybe")
    )
    assert f"{variable_of(key)}=maybe (from the environment): {said}" == refusal(
        serve, env={variable_of(key): "maybe"}
    )


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_numbers_that_are_none_are_refused(serve: Serve, text: str) -> None:
    """A timer can't be set to nan, and inf hides a mistake."""
    said = refusal(serve, "--http.idle-timeout-s", text)

    assert f"--http.idle-timeout-s={text} (from the command line): must be" in said


@pytest.mark.parametrize("key", DURATIONS)
def test_every_duration_is_finite(serve: Serve, key: str) -> None:
    """Also in the file, which has words for nan and inf."""
    said = refusal(serve, file=toml_of(key, float("nan")))

    assert f"{key}=nan (from tornado_multi.toml): must be" in said


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("boot_timeout_s = true\n", "boot_timeout_s=True (from tornado_multi.toml): must be a num"),
        ("backlog = [1, 2]\n", "must be a whole number"),
        ("workers = [3]\n", "must be a text"),
        ("bind = []\n", "must have at least one value"),
        ("bind = ['nope']\n", "bind=nope (from tornado_multi.toml): must be host:port"),
        ("bind = ['127.0.0.1:1', 'nope']\n", "(from tornado_multi.toml): must be host:port"),
        ("bind = {a = 1}\n", "bind (in tornado_multi.toml) must be a value, not a table."),
        ("[workers]\nx = 1\n", "workers (in tornado_multi.toml) must be a value, not a table."),
        ("http = 3\n", "http (in tornado_multi.toml) must be a table: [http]."),
        ("[[http]]\nidle_timeout_s = 3\n", "http (in tornado_multi.toml) must be a table: [http]."),
    ],
)
def test_a_value_of_the_wrong_kind_in_the_file_is_refused(
    serve: Serve, file: str, said: str
) -> None:
    """TOML has kinds of values that flags have not."""
    assert said in refusal(serve, file=file)


def test_an_option_given_twice_is_refused(serve: Serve) -> None:
    """Only repeatable options repeat."""
    assert "--backlog specified multiple times" in refusal(
        serve, "--backlog", "1", "--backlog", "2"
    )


def test_a_flag_without_its_value_is_refused(serve: Serve) -> None:
    """The end of the line is no value."""
    assert "--workers requires an argument" in refusal(serve, "--workers")


# --- unknown names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [
        ("--wrokers", "--workers"),
        ("--http-idle-timeout-s", "--http.idle-timeout-s"),
        ("--boot-timeout", "--boot-timeout-s"),
        ("--listen.backlog", "--backlog"),
    ],
)
def test_an_unknown_flag_suggests_the_nearest(serve: Serve, flag: str, nearest: str) -> None:
    """A slip of the finger costs one look."""
    assert f"Unknown option: {flag}. Did you mean {nearest}?" == refusal(serve, flag, "3")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("wrokers = 3\n", "Unknown key wrokers in tornado_multi.toml. Did you mean workers?"),
        (
            "boot-timeout-s = 3\n",
            "Unknown key boot-timeout-s in tornado_multi.toml. Did you mean boot_timeout_s?",
        ),
        (
            "[http]\nidel_timeout_s = 3\n",
            "Unknown key http.idel_timeout_s in tornado_multi.toml. Did you mean http.idle_timeout_s?",
        ),
        (
            "idle_timeout_s = 3\n",
            "Unknown key idle_timeout_s in tornado_multi.toml. Did you mean http.idle_timeout_s?",
        ),
        (
            "[http]\nworkers = 3\n",
            "Unknown key http.workers in tornado_multi.toml. Did you mean workers?",
        ),
        ("zzzzqq = 3\n", "Unknown key zzzzqq in tornado_multi.toml."),
        ("config = 'x'\n", "Unknown key config in tornado_multi.toml."),
    ],
)
def test_an_unknown_key_suggests_the_nearest(serve: Serve, file: str, said: str) -> None:
    """Also the right name in the wrong table."""
    assert said == refusal(serve, file=file)


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["--config FILE", "--config=FILE", "environment"])
def test_a_file_can_be_named(serve: Serve, tmp_path: Path, how: str) -> None:
    """By flag in both spellings or by variable; the default one is not read then."""
    (tmp_path / "shop.toml").write_text("workers = 5\n")
    path = f"{tmp_path}/shop.toml"
    arguments = {"--config FILE": ["--config", path], "--config=FILE": [f"--config={path}"]}
    env = {"TORNADO_MULTI_CONFIG": path} if how == "environment" else {}
    settings = serve(*arguments.get(how, []), env=env, file="workers = 6\nbacklog = 7\n")

    assert ("5", 2048) == (settings.workers.workers, settings.listen.backlog)


def test_the_flag_names_the_file_before_the_environment(serve: Serve, tmp_path: Path) -> None:
    """Precedence holds for --config itself."""
    (tmp_path / "shop.toml").write_text("workers = 5\n")

    assert (
        "5" == serve("--config", "shop.toml", env={"TORNADO_MULTI_CONFIG": "nope"}).workers.workers
    )


@pytest.mark.parametrize("how", ["--config FILE", "--config=FILE", "environment"])
def test_a_named_file_must_exist(serve: Serve, how: str) -> None:
    """Only the default one may be missing."""
    arguments = {"--config FILE": ["--config", "no.toml"], "--config=FILE": ["--config=no.toml"]}
    env = {"TORNADO_MULTI_CONFIG": "no.toml"} if how == "environment" else {}

    assert "The configuration file no.toml does not exist." == refusal(
        serve, *arguments.get(how, []), env=env
    )


def test_an_error_names_the_file_as_it_was_given(serve: Serve, tmp_path: Path) -> None:
    """People have several."""
    (tmp_path / "shop.toml").write_text("workers = 0\n")

    assert "workers=0 (from shop.toml): must be 1..2048 or auto" == refusal(
        serve, "--config", "shop.toml"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"workers = \n", "tornado_multi.toml is not valid TOML: Invalid value"),
        (b"\xff\xfe", "tornado_multi.toml is not valid TOML: 'utf-8' codec"),
        (b"workers = 1\nworkers = 2\n", "tornado_multi.toml is not valid TOML: Cannot overwrite"),
    ],
)
def test_a_broken_file_is_refused(serve: Serve, tmp_path: Path, content: bytes, said: str) -> None:
    """With the file's name and the place in it."""
    (tmp_path / "tornado_multi.toml").write_bytes(content)

    assert refusal(serve).startswith(said)


def test_a_file_that_can_not_be_read_is_refused(serve: Serve, tmp_path: Path) -> None:
    """A directory in its place, or no right to read it: the system's word."""
    (tmp_path / "tornado_multi.toml").mkdir()

    assert "Can't read the configuration file tornado_multi.toml: Is a directory." == refusal(serve)


def test_help_works_beside_a_broken_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who looks for help must not be told of something else first."""
    (tmp_path / "tornado_multi.toml").write_text("broken")

    assert 0 == run_command(["serve", "--help"])
    assert "--drain-timeout-s" in capsys.readouterr().out


def test_a_file_found_is_told_from_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """find_file looks the one flag up by hand, before the line can be parsed."""
    assert (tmp_path / "tornado_multi.toml", False) == find_file([])
    assert (tmp_path / "b.toml", True) == find_file(["--config", "a", "--config=b.toml"])
    assert Path("/etc/shop.toml") == find_file(["--config", "/etc/shop.toml"])[0]

    monkeypatch.setenv("TORNADO_MULTI_CONFIG", "env.toml")

    assert (tmp_path / "env.toml", True) == find_file(["--config"])


def test_the_file_is_found_under_the_directory_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload reads the file of the release that a link leads to by then."""
    (tmp_path / "release-1").mkdir()
    (tmp_path / "current").symlink_to("release-1")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", f"{tmp_path}/current")

    assert tmp_path / "current/tornado_multi.toml" == find_file([])[0]

    monkeypatch.setenv("PWD", "/somewhere/else")

    assert tmp_path / "release-1/tornado_multi.toml" == find_file([])[0]


def test_a_missing_default_file_is_empty(tmp_path: Path) -> None:
    """Nobody needs to have one."""
    assert {} == read_file(tmp_path / "tornado_multi.toml", named=False)


# --- the command line as a whole ------------------------------------------------------------------


def test_arguments_after_two_dashes_are_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handed on as they are, also a --config of theirs; none and no ``--`` differ."""
    seen: list[tuple[str, ...] | None] = []

    def take(_settings: Settings, app_arguments: tuple[str, ...] | None, _reread: object) -> int:
        seen.append(app_arguments)
        return 0

    monkeypatch.setattr("tornado_multi.cli.serve.serve", take)
    for tail in ([], ["--"], ["--", "--config", "theirs.conf", "--", "y"]):
        run_command(["serve", "shop:make_app", *tail])

    assert [None, (), ("--config", "theirs.conf", "--", "y")] == seen


def test_an_exit_code_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What serve returns is the command's."""
    monkeypatch.setattr("tornado_multi.cli.serve.serve", lambda *_arguments: 111)

    assert 111 == run_command(["serve", "shop:make_app"])


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 65535, "1..65535"),
        (0.1, 86400, "0.1..86400"),
        (0, None, "at least 0"),
        (None, 5, "at most 5"),
        (None, None, ""),
        (0, 2**31, "0..2147483648"),
    ],
)
def test_a_range_as_people_write_it(low: float | None, high: float | None, expected: str) -> None:
    """Whole, however large."""
    assert expected == range_text(low, high)


def test_a_mirror_has_the_same_fields_and_defaults() -> None:
    """The parser sees what the model declares, and gives back the model's own class."""
    made = mirror(ListenSettings).__origin__
    parsed = made(backlog=5)

    assert [item.name for item in dataclasses.fields(ListenSettings)] == [
        item.name for item in dataclasses.fields(made)
    ]
    assert ListenSettings(backlog=5) == unmirror(ListenSettings, parsed)
    assert ControlSettings() == unmirror(ControlSettings, None)


def test_an_option_of_the_app_is_sent_behind_the_dashes(serve: Serve) -> None:
    """What is like none of ours is probably the app's; a far-fetched suggestion would mislead."""
    with pytest.raises(UsageError) as caught:
        serve("--greeting=x")

    assert "Unknown option: --greeting. Options of the app itself go after --." == " ".join(
        str(caught.value).split()
    )
