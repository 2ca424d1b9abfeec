"""The hazards that the audit is judged by are real."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.hazards import HAZARDS, hazard_environment

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process
KINDS = {
    *("connected-socket", "tls-socket", "database-connection", "connection-pool", "sqlite"),
    *("epoll", "event-loop", "thread", "held-lock", "pipe", "eventfd", "rotating-log"),
    *("buffered-file", "temporary-directory", "executor", "child-process", "rng", "shared-map"),
    *("udp-socket", "wakeup-fd", "native-thread"),
}


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return hazard_environment(request, tmp_path)


def test_every_hazard_has_its_mark() -> None:
    """One marked line in each function that plants, and every kind is there."""
    tree = ast.parse((VICTIMS / "hazards.py").read_text())
    planting = [
        item.name for item in tree.body if isinstance(item, ast.FunctionDef) and item.decorator_list
    ]

    assert planting == list(HAZARDS)
    assert {mark.kind for mark in HAZARDS.values()} == KINDS


@pytest.mark.parametrize("name", HAZARDS)
def test_each_hazard_can_be_planted_alone(name: str, environment: dict[str, str]) -> None:
    """In a fresh interpreter, which ends by itself."""
    done = subprocess.run(
        [sys.executable, "-c", f"import hazards, os; held = hazards.{name}(); os._exit(0)"],
        cwd=VICTIMS,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_an_app_with_every_hazard_is_served(
    cluster: StartCluster, environment: dict[str, str]
) -> None:
    """The default is to warn, not to refuse: two workers answer."""
    made = cluster("hazards_app:make_app", environment=environment)

    assert int(made.get("/")) in made.worker_pids()
