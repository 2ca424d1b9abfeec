"""The zygote may die: workers serve on, another one comes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.commands import run_command
from support.load import Load
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process


def test_serving_goes_on_and_a_worker_killed_afterwards_is_replaced(
    cluster: StartCluster,
) -> None:
    """No request fails, healthy workers stay, and the next generation forks the next worker."""
    made = cluster(workers=2)
    before = made.worker_pids()
    with Load(made.port(), 4) as load:
        os.kill(made.zygote_pid(), signal.SIGKILL)
        eventually(
            lambda: [
                item
                for item in made.status()["zygotes"]
                if item["generation"] == 2 and item["state"] == "ready"
            ]
        )
        assert before == made.worker_pids()
    assert not load.errors()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2 and before[0] not in made.worker_pids())
    assert made.worker(0)["generation"] == 2


def test_a_zygote_that_can_not_import_any_more_is_said_and_tried_again(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Status says why no worker can be forked; when the cause is gone, it heals by itself."""
    app = tmp_path / "app"
    app.mkdir()
    source = (VICTIMS / "hello.py").read_text()
    (app / "changing.py").write_text(source)
    made = cluster("changing:make_app", chdir=app, workers=1)
    (app / "changing.py").write_text("import no_such_module_anywhere\n")
    os.kill(made.zygote_pid(), signal.SIGKILL)
    problem = eventually(lambda: made.status()["zygote_problem"])

    eventually(lambda: "no_such_module_anywhere" in (made.status()["zygote_problem"] or ""))
    assert problem
    assert made.get("/")
    (app / "changing.py").write_text(source)
    eventually(lambda: [z for z in made.status()["zygotes"] if z["state"] == "ready"])
    assert made.status()["zygote_problem"] is None


def test_a_restart_that_failed_is_not_carried_out_later(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """The worker that lives stays, also when the code is mended; a place that is empty is filled.

    1. The zygote is killed, and the code on disk is broken: no worker can be forked.
    2. restart 1 says so and exits with 1.
    3. Worker 0 is killed: the log and the status say that it waits for a zygote.
    4. The code is mended: worker 0 comes back, worker 1 is the same as before.
    """
    app = tmp_path / "app"
    app.mkdir()
    source = (VICTIMS / "hello.py").read_text()
    (app / "changing.py").write_text(source)
    made = cluster("changing:make_app", chdir=app, workers=2)
    first, second = made.worker_pids()
    (app / "changing.py").write_text("import no_such_module_anywhere\n")
    os.kill(made.zygote_pid(), signal.SIGKILL)
    eventually(lambda: "no_such_module_anywhere" in (made.status()["zygote_problem"] or ""))
    # While a further try imports, the answer waits for it.
    refused = run_command(made, "restart", "1")

    assert (1, True) == (refused.returncode, "No worker can be forked: " in refused.stderr)

    os.kill(first, signal.SIGKILL)
    (row,) = eventually(lambda: made.workers("backoff"))
    assert (0, "was ended by SIGKILL") == (row["fork_id"], row["last_end"])
    assert "was ended by SIGKILL; replacing it as soon as a zygote is ready." in made.log()
    shown = run_command(made, "status").stdout
    assert "  1 of 2 ready  " in shown.splitlines()[0]
    assert "\nworker 0: was ended by SIGKILL; " in shown

    (app / "changing.py").write_text(source)
    eventually(lambda: len(made.workers()) == 2, within_s=60)
    # The zygote would have forked both in one turn.
    assert second == made.worker(1)["pid"]
    assert made.worker(0)["generation"] > made.worker(1)["generation"] == 1
    assert [0, 1] == [row["fork_id"] for row in made.status()["workers"]]


def test_term_does_not_end_a_zygote(cluster: StartCluster) -> None:
    """It leaves on command or end of file only."""
    made = cluster(workers=1)
    zygote = made.zygote_pid()
    os.kill(zygote, signal.SIGTERM)
    os.kill(made.worker(0)["pid"], signal.SIGKILL)
    eventually(lambda: made.workers() and made.worker(0)["restarts"] == 1)

    assert zygote == made.zygote_pid()
