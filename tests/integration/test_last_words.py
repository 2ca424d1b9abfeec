"""What is told of a death: the worker's own last words, whole or cut, and nobody else's."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import run_command
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

JSON = ["--log-format", "json"]


def deaths(made: Cluster) -> list[dict[str, Any]]:
    *whole, _ = made.log().split("\n")
    return [record["death"] for record in map(json.loads, whole) if "death" in record]


def crash(made: Cluster, threads: int) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        made.get(f"/crash?threads={threads}")
    return eventually(lambda: deaths(made), about="a death")[0]


def test_a_crash_out_of_the_blue_has_its_stack(cluster: StartCluster) -> None:
    """Also when no report of a silent loop came before."""
    made = cluster("last_words:make_app", workers=1, options=JSON)
    stacks = crash(made, 0)["stacks"]

    assert stacks.startswith("Fatal Python error: Aborted")
    assert "last_words.py" in stacks


def test_a_crash_with_very_many_frames_is_told_to_the_hook(cluster: StartCluster) -> None:
    """Stacks that are longer than a message are cut, and everything else is told."""
    made = cluster("last_words:make_app", workers=1, options=JSON)
    death = crash(made, 90)

    assert len(death["stacks"]) > 64 * 1024
    eventually(lambda: "told: 6 " in made.output(), about="on_worker_exit")
    assert "[BUG]" not in made.log()


def test_a_childs_crash_is_not_the_workers_last_word(cluster: StartCluster) -> None:
    """A child that the app forked writes to the same file; its worker then leaves in peace."""
    made = cluster("last_words:make_app", workers=1, options=JSON)
    assert b"6" == made.get("/child")
    run_command(made, "restart", "0")
    eventually(lambda: "Drained in" in made.log())
    eventually(lambda: len(made.status()["workers"]) == 1)

    assert "last words" not in made.log()
