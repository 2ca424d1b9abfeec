"""The unit files that the docs show, as systemd's own checker and our own command line see them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from configparser import RawConfigParser
from typing import TYPE_CHECKING

import pytest
from support.cluster import REPOSITORY
from support.programs import require_program

from tornado_multi.cli.commands import read_settings
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.model import WorkerSettings
from tornado_multi.supervisor.state import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.process

PAGE = REPOSITORY / "docs" / "howto" / "run-under-systemd.md"
UNIT = re.compile(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = "/srv/shop/.venv/bin/tornado-multi"


def units() -> dict[str, str]:
    return dict(UNIT.findall(PAGE.read_text(encoding="utf-8")))


class Unit(RawConfigParser):
    """One unit file; an option that stands twice keeps its last value."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters="=", interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read_string(units()[name])


def verify(directory: Path, files: dict[str, str]) -> str:
    """Return what systemd-analyze has to say of these units."""
    analyze = require_program("systemd-analyze", "systemd")
    for name, text in files.items():
        (directory / name).write_text(text.replace(PROGRAM, sys.executable))
    paths: Sequence[str] = [str(directory / name) for name in files]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """Every key is known, every value can be read, and the units fit together."""
    found = units()

    assert ["shop-admin.socket", "shop.service", "shop.socket"] == sorted(found)
    assert "" == verify(tmp_path, found)


def test_the_check_finds_a_mistake(tmp_path: Path) -> None:
    """A misspelt key and a value that makes no sense are told, so silence means something."""
    service = units()["shop.service"]
    misspelt = {"a.service": service.replace("KillMode=", "KilMode=")}
    senseless = {"b.service": service.replace("KillMode=mixed", "KillMode=mixd")}

    assert "Unknown key" in verify(tmp_path, misspelt)
    assert "mixd" in verify(tmp_path, senseless)


def test_serve_takes_the_command_of_the_unit() -> None:
    """The names that it binds are those of the socket units, which all belong to the service."""
    service = Unit("shop.service")["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    sockets = service["Sockets"].split()
    names = [Unit(name)["Socket"]["FileDescriptorName"] for name in sockets]

    assert PROGRAM == program
    assert tuple(f"fd://{name}" for name in names) == read_settings(arguments).listen.bind
    assert {"shop.service"} == {
        Unit(name)["Socket"].get("Service", name.replace(".socket", ".service")) for name in sockets
    }


def test_the_times_and_codes_of_the_unit_fit_ours() -> None:
    """A stop lasts longer than a drain, and what can't get better is not tried again."""
    service = Unit("shop.service")["Service"]
    settings = WorkerSettings()
    grace_s = Limits(settings.boot_timeout_s, settings.drain_timeout_s).kill_grace_s

    assert int(service["TimeoutStopSec"]) > settings.drain_timeout_s + grace_s
    assert {ExitCode.USAGE, ExitCode.BOOT_FAILED, ExitCode.ALREADY_RUNNING} == {
        int(code) for code in service["RestartPreventExitStatus"].split()
    }
