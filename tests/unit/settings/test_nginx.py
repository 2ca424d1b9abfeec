"""The options of the command nginx: where they come from, and who passes them over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.cli import commands
from tornado_multi.cli.commands import read_settings, run_command
from tornado_multi.settings.load import ENVIRONMENT_PREFIX, UsageError, unknown_variables
from tornado_multi.settings.model import GROUPS, options_of
from tornado_multi.settings.nginx import NginxSettings, split_static
from tornado_multi.settings.reference import render_nginx_reference

if TYPE_CHECKING:
    import dataclasses

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "nginx-options.md"
TEXTS: dict[str, Any] = {
    "server_name": ("shop.example.com", "*.example.org"),
    "server": ("10.0.0.5:8001", "[2001:db8::1]:8002"),
    "listen_address": ("127.0.0.1", "::1"),
    "certificate": "/etc/shop/tls.pem",
    "certificate_key": "/etc/shop/tls.key",
    "hash_key": "$arg_room",
    "stream_path": ("/chat", "/events/"),
    "upload_path": ("/photos/",),
    "static": ("/static/=/srv/shop dir", "/b=/srv"),
    "rate_limit": "50r/s",
    "private_listen": "127.0.0.1:8081",
    "worker_processes": "3",
    "nginx_user": "nginx",
    "access_log": "off",
    "error_log": "/e",
    "nginx_pid_file": "/p",
    "include": ("/i",),
    "main_file": "/m",
    "nginx_program": "/usr/sbin/nginx",
    "nginx_version": "1.22.1",
    "balance": "random",
    "retry": "off",
    "tls_profile": "modern",
}


def example(item: dataclasses.Field[Any]) -> Any:
    """Return an allowed value that is no default."""
    if item.name in TEXTS:
        return TEXTS[item.name]
    if isinstance(item.default, bool):
        return not item.default
    declared = item.metadata["option"]
    kind = float if "float" in str(item.type) else int
    return kind((declared.at_least or 0) + 1)


VALUES = {item.name: example(item) for item, _ in options_of(NginxSettings)}


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the command's options and settings, which are otherwise written for nginx."""
    seen: list[Any] = []
    monkeypatch.setattr("tornado_multi.cli.nginx.nginx", lambda *given: seen.append(given) or 0)

    def read(*arguments: str) -> Any:
        seen.clear()
        assert 0 == run_command(["nginx", *arguments])
        return seen[0]

    return read


def flags() -> list[str]:
    found = []
    for name, value in VALUES.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            found.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            for item in value if isinstance(value, tuple) else (value,):
                found += [flag, str(item)]
    return found


def toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return str(value).lower() if isinstance(value, (bool, int, float)) else f'"{value}"'


def test_every_option_is_taken_from_flags(read: Any) -> None:
    """Without a prefix."""
    assert NginxSettings(**VALUES) == read(*flags())[1]


def test_every_option_is_taken_from_the_file(read: Any, tmp_path: Path) -> None:
    """In a table of its own, beside the service's."""
    table = "".join(f"{name} = {toml(value)}\n" for name, value in VALUES.items())
    (tmp_path / "tornado_multi.toml").write_text(
        f'app = "shop:make_app"\nfirst_port = 8001\n[http]\nidle_timeout_s = 9\n[nginx]\n{table}'
    )
    settings, options, _ = read()

    assert NginxSettings(**VALUES) == options
    assert ("shop:make_app", 8001, 9) == (
        settings.app,
        settings.instances.first_port,
        settings.http.idle_timeout_s,
    )


def test_every_option_is_taken_from_the_environment(
    read: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the table's name before it; a flag goes before it, the file behind."""
    for item, declared in options_of(NginxSettings):
        value = VALUES[item.name]
        if isinstance(value, tuple):
            text = (declared.separator or " ").join(value)
        else:
            text = str(value).lower()
        monkeypatch.setenv(f"TORNADO_MULTI_NGINX_{item.name.upper()}", text)
    (tmp_path / "tornado_multi.toml").write_text("[nginx]\nhttp_port = 3\n")

    assert [] == unknown_variables()
    assert NginxSettings(**VALUES) == read()[1]
    assert 5 == read("--http-port", "5")[1].http_port


def test_a_variable_without_the_table_is_none_of_ours(
    read: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not taken, and the right name is told."""
    monkeypatch.setenv("TORNADO_MULTI_HTTP_PORT", "5")

    assert 80 == read()[1].http_port
    assert "Did you mean TORNADO_MULTI_NGINX_HTTP_PORT?" in capsys.readouterr().err


def test_no_name_stands_for_two_options() -> None:
    """``nginx`` takes the service's options too, and has some of its own."""
    service = {
        item.name
        for name, group in GROUPS.items()
        if name != "http"
        for item, _ in options_of(group)
    }
    own = set(commands._nginx.__annotations__) | {"config", "http", "nginx"}

    assert set() == set(VALUES) & (service | own)


def test_the_service_passes_its_table_over(tmp_path: Path) -> None:
    """But not a key that nobody has."""
    file = tmp_path / "tornado_multi.toml"
    file.write_text('[nginx]\nserver_name = ["a.example.com"]\n')
    assert "shop:make_app" == read_settings(["serve", "shop:make_app"]).app
    assert "shop:make_app" == read_settings(["instances", "shop:make_app", "--first-port=1"]).app

    file.write_text("[nginx]\nserver_nam = []\n")
    for command in ("serve", "nginx"):
        with pytest.raises(
            UsageError, match=r"Unknown key nginx\.server_nam .*nginx\.server_name\?"
        ):
            run_command([command, "shop:make_app"])
    file.write_text("nginx = 1\n")
    with pytest.raises(UsageError, match=r"must be a table: \[nginx\]"):
        read_settings(["serve", "shop:make_app"])


def test_the_service_does_not_know_its_flags() -> None:
    """They belong to the command nginx."""
    with pytest.raises(UsageError, match="--server-name"):
        read_settings(["serve", "shop:make_app", "--server-name", "a.example.com"])


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        *(("--server-name", value, "must be a host name") for value in ("_", "a b", "a;b", "ä.de", "a.", "[::g]", "")),
        *(("--server", value, "must be host:port of another machine") for value in ("unix:/a", "a:0", ":80")),
        ("--server", "a;b:80", "neither a host name nor an address"),
        ("--server", "10.0.0.5", "must be host:port"),
        ("--listen-address", "localhost", "must be an IPv4 or IPv6 address"),
        ("--http-port", "0", r"must be 1\.\.65535"),
        ("--certificate", "tls.pem", "must be an absolute path"),
        ("--balance", "fair", "must be least_conn or round_robin or"),
        ("--hash-key", "a b", "must be variables of nginx"),
        ("--stream-path", "a", "must be a path that begins with /"),
        ("--stream-path", "/a?b", "must be a path that begins with /"),
        ("--stream-path", "/a%20b", "as nginx compares it: with the letter itself"),
        *(("--upload-path", value, "as nginx compares it: without") for value in ("//", "/a/../b", "/a/.")),
        ("--listen-address", "fe80::1%eth0", "without a zone such as %eth0"),
        ("--static", "/a", "must be URL=DIRECTORY"),
        ("--static", "/a=b", "must be URL=DIRECTORY"),
        ("--static", "/a=/", "must be a directory below /"),
        ("--static", "/=/srv", "the URL must be below /"),
        ("--rate-limit", "fast", "must be a rate such as 50r/s"),
        ("--private-listen", "10.0.0.1:80", "must be an address of the loopback"),
        ("--private-listen", "unix:/a?mode=600", "must be unix:/path or"),
        ("--private-listen", "localhost:80", "must be an address of the loopback"),
        ("--worker-processes", "0", r"must be 1\.\.1024 or auto"),
        ("--nginx-user", "a b", "must be the name of a user"),
        ("--access-log", "on", "must be an absolute path"),
        ("--nginx-version", "new", "must be a version such as"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_in_a_sentence(flag: str, value: str, says: str) -> None:
    """It names the option, the value and what is allowed."""
    with pytest.raises(UsageError, match=says):
        run_command(["nginx", flag, value])


def test_a_static_directory_always_ends_with_a_slash() -> None:
    """As its URL does: nginx replaces one by the other, letter by letter."""
    assert ("/static/", "/srv/a/") == split_static("/static=/srv/a")
    assert ("/static/", "/srv/a=b/") == split_static("/static/=/srv/a=b/")


def test_every_option_has_a_help_text() -> None:
    """A full sentence, in one paragraph; numbers are bounded."""
    for item, declared in options_of(NginxSettings):
        assert declared.help.endswith("."), item.name
        assert "\n" not in declared.help
        if str(item.type).startswith(("int", "float")):
            assert declared.at_least is not None


def test_the_page_is_up_to_date() -> None:
    """The page in docs/ is what the class says; ``make docs`` writes it."""
    assert render_nginx_reference() == PAGE.read_text(encoding="utf-8")


def test_help_shows_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own options first, then those of the service that the configuration depends on."""
    run_command(["nginx", "--help"])
    shown = capsys.readouterr().out.partition("\nParameters:")[2]

    assert shown.index("--server-name") < shown.index("--first-port") < shown.index("--xheaders")
    assert "--hang-timeout-s" not in shown
