"""Every planted hazard is found with its line, and clean apps have no finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.auditing import check
from support.clean_apps import CLEAN_APPS, clean_environment
from support.commands import run_command
from support.hazards import HAZARDS, hazard_environment

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

ERRORS = {
    *("connected-socket", "tls-socket", "database-connection", "connection-pool", "sqlite"),
    *("epoll", "event-loop", "wakeup-fd", "thread", "held-lock", "executor", "native-thread"),
    *("child-process", "rotating-log", "temporary-directory"),
}


@pytest.mark.parametrize(
    ("options", "unknown"),
    [([], ["native_thread"]), (["--trace"], [])],
    ids=["without a trace", "with a trace"],
)
def test_all_hazards_of_one_app(
    request: pytest.FixtureRequest, tmp_path: Path, options: list[str], unknown: list[str]
) -> None:
    """Each is named with its kind and the line that has made it; of some only a trace knows it."""
    environment = hazard_environment(request, tmp_path)
    found = check("hazards_app:make_app", environment, *options)
    places = {(item.kind, item.file, item.line) for item in found}

    missing = [mark for mark in HAZARDS.values() if (mark.kind, mark.file, mark.line) not in places]
    assert unknown == [mark.function for mark in missing], [
        item for item in found if item.kind in {mark.kind for mark in missing}
    ]


@pytest.mark.parametrize("name", HAZARDS)
def test_one_hazard(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    """One hazard alone is found, and nothing that would be taken for another one."""
    mark = HAZARDS[name]
    environment = hazard_environment(request, tmp_path) | {"HAZARD": name}
    found = check("one_hazard_app:make_app", environment)
    serious = [item for item in found if item.word != "info"]

    assert mark.kind in {item.kind for item in found}, found
    assert {mark.file} >= {item.file for item in serious if item.file}
    assert (mark.kind in ERRORS) == any(item.word == "error" for item in found), found


@pytest.mark.parametrize("app", CLEAN_APPS)
def test_a_clean_app(request: pytest.FixtureRequest, tmp_path: Path, app: str) -> None:
    """Nothing above information is found in an app that opens what it needs in its workers."""
    found = check(app, clean_environment(request, tmp_path), chdir=CLEAN_APPS[app])

    assert [] == [item for item in found if item.word != "info"]


def test_an_app_with_every_hazard_is_served(
    request: pytest.FixtureRequest, tmp_path: Path, cluster: StartCluster
) -> None:
    """The default is to warn, not to refuse: workers answer, also after a reload, and all ends."""
    made = cluster("hazards_app:make_app", environment=hazard_environment(request, tmp_path))
    assert int(made.get("/")) in made.worker_pids()
    reloaded = run_command(made, "reload")

    assert 0 == reloaded.returncode, reloaded.stderr
    assert int(made.get("/")) in made.worker_pids()
    assert 0 == made.stop()
