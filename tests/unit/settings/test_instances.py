"""What ``instances`` takes, what ``serve`` leaves aside, and the addresses that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.cli.commands import read_settings, run_command
from tornado_multi.settings.load import ENVIRONMENT_PREFIX, UsageError
from tornado_multi.settings.model import (
    InstanceSettings,
    ListenSettings,
    options_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tornado_multi.settings.model import Settings


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable but what a test gives."""
    monkeypatch.chdir(tmp_path)
    for item, _ in options_of(InstanceSettings):
        monkeypatch.delenv(f"{ENVIRONMENT_PREFIX}{item.name.upper()}", raising=False)


def read(*arguments: str, command: str = "instances") -> Settings:
    return read_settings([command, "shop:make_app", *arguments])


@pytest.mark.parametrize("source", ["flags", "environment", "file"])
def test_every_option_is_taken_from_every_source(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the count is the number of workers, so that all that holds for them holds for instances."""
    values = {"count": "3", "first_port": "8001", "host": "::1"}
    arguments = []
    for name, value in values.items():
        if source == "flags":
            arguments.append(f"--{name.replace('_', '-')}={value}")
        elif source == "environment":
            monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}{name.upper()}", value)
    if source == "file":
        text = 'count = "3"\nfirst_port = 8001\nhost = "::1"\n'
        (tmp_path / "tornado_multi.toml").write_text(text)
    settings = read(*arguments)

    assert InstanceSettings(count="3", first_port=8001, host="::1") == settings.instances
    assert "3" == settings.workers.workers
    assert ["[::1]:8001", "[::1]:8003"] == [settings.instances.bind_of(item) for item in (0, 2)]


def test_one_file_serves_both_commands(tmp_path: Path) -> None:
    """Each takes what is its own, and leaves the rest aside."""
    text = 'bind = ["127.0.0.1:8000"]\nworkers = "4"\ncount = "2"\nunix_dir = "/run/shop"\n'
    (tmp_path / "tornado_multi.toml").write_text(text)
    serve, instances = read(command="serve"), read()

    assert InstanceSettings() == serve.instances
    assert (("127.0.0.1:8000",), "4") == (serve.listen.bind, serve.workers.workers)
    assert "2" == instances.workers.workers
    assert "unix:/run/shop/1.sock" == instances.instances.bind_of(1)


def test_a_flag_wins_over_the_other_way_to_say_it_in_the_file(tmp_path: Path) -> None:
    """Ports in the file, sockets on the command line, or the other way round."""
    file = tmp_path / "tornado_multi.toml"
    file.write_text("first_port = 8001\n")
    assert "unix:/run/shop/0.sock" == read("--unix-dir=/run/shop").instances.bind_of(0)
    file.write_text('unix_dir = "/run/shop"\n')
    assert "127.0.0.1:9001" == read("--first-port", "9001").instances.bind_of(0)


def test_mode_and_group_hold_for_every_unix_socket() -> None:
    """The directory may be written with a slash at its end."""
    settings = read("--unix-dir", "/run/shop/?mode=660&group=www-data")

    assert "unix:/run/shop/7.sock?mode=660&group=www-data" == settings.instances.bind_of(7)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs to know where they listen"),
        (["--first-port", "8001", "--unix-dir", "/run/shop"], "only one of them can be given"),
        (["--first-port", "65000", "--count", "1000"], "there is room for 536"),
        (["--first-port", "0"], "must be 1..65535"),
        (["--first-port", "8001", "--count", "0"], "count=0 .*must be 1..2048 or auto"),
        (["--unix-dir", "run"], "absolute path"),
        (["--unix-dir", "/" + "x" * 100], "longer than 107 bytes"),
        (["--unix-dir", "/run/shop?owner=me"], "mode and group are known"),
        (["--first-port", "1", "--host", "a/b"], "looks like a path"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(arguments: list[str], says: str) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=says):
        read(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "a:b", "--first-port=8001"], "belongs to the command instances; write --bind"),
        (["serve", "a:b", "--count", "3"], "write --workers"),
        (["instances", "a:b", "--workers", "3"], "belongs to the command serve; write --count"),
        (["instances", "a:b", "--bind=:80"], "write --first-port PORT or --unix-dir DIR"),
    ],
)
def test_options_of_the_other_command_are_named(arguments: list[str], says: str) -> None:
    """Whoever mixes them up is told what to write."""
    with pytest.raises(UsageError, match=says):
        run_command(arguments)


@pytest.mark.parametrize(
    ("command", "has", "has_not"),
    [("serve", "--bind", "--first-port"), ("instances", "--first-port", "--bind")],
)
def test_help_shows_what_the_command_takes(
    command: str, has: str, has_not: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else."""
    run_command([command, "--help"])
    shown: Any = capsys.readouterr().out

    assert f"{has} " in shown
    assert f"{has_not} " not in shown
    assert "--config " in shown
    assert "--http.idle-timeout-s " in shown


def test_ports_end() -> None:
    """Where scaling has to end too."""
    assert 2048 == InstanceSettings(first_port=8000).most_instances()
    assert 3 == InstanceSettings(first_port=65533).most_instances()
    assert 2048 == InstanceSettings(unix_dir="/run/shop").most_instances()
    assert ListenSettings().bind == ("127.0.0.1:8888",)
