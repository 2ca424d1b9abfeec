"""A first start that can't succeed ends with the reason, code 3 (or 2), and nothing left."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

FAST = ["--boot-timeout-s", "3"]


@pytest.mark.parametrize(
    ("app", "code", "said"),
    [
        ("import_raises:make_app", 3, ["ValueError: no database configured", "import_raises.py"]),
        ("import_exits:make_app", 3, ["sys.exit('configuration missing')"]),
        ("import_os_exits:make_app", 3, ["exited with code 9 while it imported"]),
        ("import_hangs:make_app", 3, ["did not finish within 3 s", 'import_hangs.py", line 5']),
        ("factory_raises:make_app", 3, ["LookupError: no such tenant", "factory_raises.py"]),
        ("factory_exits:make_app", 3, ["sys.exit(5)"]),
        ("factory_hangs:make_app", 3, ["did not finish within 3 s", 'factory_hangs.py", line 9']),
        (
            "factory_awaits_forever:make_app",
            3,
            ["did not finish within 3 s", 'forever.py", line 9'],
        ),
        ("one_worker_fails_boot:make_app", 3, ["worker 1 can't have its lease"]),
        ("kinds:returns_nothing", 3, ["returned None"]),
        ("kinds:number", 3, ["is a builtins.int"]),
        ("no_such_module:make_app", 2, ["no module 'no_such_module'", "--chdir"]),
        ("hello:make_ap", 2, ["no attribute 'make_ap'", "make_app"]),
        ("hello", 2, ["module:attr"]),
    ],
)
def test_a_failed_first_start(cluster: StartCluster, app: str, code: int, said: list[str]) -> None:
    """The exit code tells a service manager not to retry, the text tells a person what to mend."""
    made = cluster(app, ready=False, workers=3, options=FAST)

    assert made.wait_gone() == code
    assert [text for text in said if text not in made.log()] == [], made.log()
    assert made.log().count("Traceback") <= 1
    assert ("hang" in app or "forever" in app) or "was killed" not in made.log()


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("factory_hangs:make_app", "did not finish within 3 s (boot_timeout_s)"),
        ("factory_raises:make_app", "LookupError: no such tenant"),
    ],
)
def test_the_line_about_a_failed_start_has_the_death_of_its_worker(
    cluster: StartCluster, app: str, reason: str
) -> None:
    """Machines find the culprit under the key that other deaths have."""
    made = cluster(app, ready=False, workers=1, options=[*FAST, "--log-format", "json"])

    assert made.wait_gone() == 3
    (line,) = [
        record for record in map(json.loads, made.log().splitlines()) if reason in record["text"]
    ]
    assert (0, False, 3) == tuple(
        line["death"][key] for key in ("fork_id", "was_ready", "exit_code")
    )


def test_a_syntax_error_is_shown_with_its_line(cluster: StartCluster, tmp_path: Path) -> None:
    """The file, the line and the text of a syntax error are printed, our own frames are not."""
    (tmp_path / "broken.py").write_text("def make_app(:\n    pass\n")
    made = cluster("broken:make_app", ready=False, chdir=tmp_path)

    assert made.wait_gone() == 3
    assert "SyntaxError" in made.log()
    assert "line 1" in made.log()
    assert "tornado_multi/" not in made.log()


@pytest.mark.parametrize("app", ["import_hangs:make_app", "factory_hangs:make_app"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_boot_ends_well(cluster: StartCluster, app: str, number: int) -> None:
    """TERM and INT while the app boots end the service within the grace time."""
    made = cluster(app, ready=False, workers=1)
    wanted = "zygote gen 1 importing" if app.startswith("import") else "worker 0 gen 1 starting"
    eventually(lambda: any(wanted in item.title for item in made.leftovers()))
    made.signal(number)

    assert made.wait_gone() in {0, 128 + number}


def test_an_address_in_use_is_refused_before_anything_starts(cluster: StartCluster) -> None:
    """Exit code 111 and the address; no zygote was started."""
    first = cluster(workers=1)
    second = cluster(ready=False, bind=[f"127.0.0.1:{first.port()}"])

    assert second.wait_gone() == 111
    assert f"127.0.0.1:{first.port()}" in second.log()
    assert first.get("/")


def test_a_second_supervisor_is_refused(cluster: StartCluster, tmp_path: Path) -> None:
    """The control socket's lock and the pid file's each refuse it: exit 4 and the holder's pid."""
    pid_file = tmp_path / "pid"
    first = cluster(workers=1, options=["--pid-file", str(pid_file)])
    by_control = cluster(ready=False, control=first.control)
    by_pid_file = cluster(ready=False, options=["--pid-file", str(pid_file)])

    assert (4, 4) == (by_control.wait_gone(), by_pid_file.wait_gone())
    for refused in (by_control, by_pid_file):
        assert f"pid {first.pid}" in refused.log()
    assert int(pid_file.read_text()) == first.pid
    assert first.get("/")


def test_two_hundred_workers_start_and_are_supervised(cluster: StartCluster) -> None:
    """All become ready; one killed is replaced; all leave."""
    made = cluster(workers=200)
    pids = made.worker_pids()
    assert len(set(pids)) == 200
    os.kill(pids[17], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 200 and pids[17] not in made.worker_pids())
    assert made.stop() == 0
