"""The demonstration of the two bugs: they are there without the mend, and found, and gone with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.auditing import check
from support.cluster import REPOSITORY
from support.waiting import eventually

from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

WRONG = "demo_app.shared_by_accident:make_app"
MENDED = "demo_app.made_per_process:make_app"
LINE = re.compile(
    r"^(?P<way>.+): +(?P<wrong>\d+) of (?P<calls>\d+) replies were somebody else's, "
    r"(?P<failed>\d+) calls failed, (?P<lost>\d+) log lines are lost$",
    re.MULTILINE,
)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An account service, and what the apps have to know of it."""
    service = subprocess.Popen(
        [sys.executable, "-m", "demo_app.account_service", "0"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert service.stdout is not None
    try:
        port = service.stdout.readline().rpartition(":")[2].rstrip(".\n")
        yield {"ACCOUNT_SERVICE_PORT": port, "CALLS_LOG_DIR": str(tmp_path)}
    finally:
        service.terminate()
        service.wait()
        service.stdout.close()


def line_of(beginning: str) -> int:
    """Return the number of the line of the wrong app that begins so."""
    lines = (REPOSITORY / "demo_app" / "shared_by_accident.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(beginning))


def test_the_damage_is_there_and_the_mend_ends_it() -> None:
    """Replies get mixed up only without the toolkit, lines are lost without the mend."""
    done = subprocess.run(
        [sys.executable, "-m", "demo_app.two_bugs"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    found = {
        item["way"]: [int(item[name]) for name in ("wrong", "failed", "lost")]
        for item in LINE.finditer(done.stdout)
    }

    assert ["forked by Tornado", "served", "served and mended"] == list(found), done.stdout
    assert found["forked by Tornado"][0] > 100
    assert found["forked by Tornado"][2] > 100
    assert [0, 4] == found["served"][:2]
    assert [0, 0, 0] == found["served and mended"]


def test_the_audit_names_both_lines(environment: dict[str, str]) -> None:
    """Two errors, each at the line that the mend changes, and nothing else."""
    found = check(WRONG, environment, chdir=REPOSITORY)
    file = "shared_by_accident.py"

    assert [
        ("error", "connected-socket", file, line_of("accounts = ")),
        ("error", "rotating-log", file, line_of("handler = ")),
    ] == [(item.word, item.kind, item.file, item.line) for item in found]


@pytest.mark.parametrize("app", [MENDED, "demo_app:make_app"])
def test_the_audit_finds_nothing_in_the_others(app: str, environment: dict[str, str]) -> None:
    """The mended app is clean, and so is the demo app."""
    assert [] == check(app, environment, chdir=REPOSITORY)


def test_a_call_on_the_inherited_connection_names_its_line(
    environment: dict[str, str], cluster: StartCluster
) -> None:
    """Also where the client has closed the connection before the error is logged; then it heals."""
    made = cluster(WRONG, workers=1, chdir=REPOSITORY, environment=environment)
    url = f"http://127.0.0.1:{made.port()}/accounts/7"
    statuses = [fetch(url, headers={}, timeout_s=30).status for _ in range(2)]
    place = f"{os.path.join('demo_app', 'shared_by_accident.py')}:{line_of('accounts = ')}"

    assert [500, 200] == statuses
    eventually(lambda: place in made.log().partition("BrokenPipeError")[2])


def test_the_mend_is_three_lines() -> None:
    """But for what they say of themselves, the two apps differ in three lines."""
    texts = [
        (REPOSITORY / "demo_app" / f"{name}.py").read_text().split('"""', 2)[2].splitlines()
        for name in ("shared_by_accident", "made_per_process")
    ]

    assert len(texts[0]) == len(texts[1])
    assert 3 == sum(one != other for one, other in zip(*texts, strict=True))
