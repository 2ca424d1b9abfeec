"""A worker that the kernel kills for want of memory, in a control group with a real limit."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.groups import entering
from support.load import Load
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.groups import MakeGroup

pytestmark = pytest.mark.process

LIMIT = str(256 * 2**20)
LIMITS = {
    "memory.limit_in_bytes": LIMIT,
    "memory.memsw.limit_in_bytes": LIMIT,
    "memory.max": LIMIT,
    "memory.swap.max": "0",
}


def test_the_report_says_so_and_siblings_notice_nothing(
    make_group: MakeGroup, cluster: StartCluster
) -> None:
    """By the kernel's own word, with route, requests in flight and memory.

    1. One of three workers takes more memory than the group has.
    2. The kernel kills it; the others keep their pids, and clients see no error.
    3. It is replaced at once, and one record says why it died.
    """
    made = cluster(
        "grows:make_app",
        workers=3,
        options=["--log-format", "json"],
        wrapper=entering(make_group("memory", LIMITS)),
    )
    pids = made.worker_pids()
    with made.connect() as greedy:
        greedy.sendall(b"GET /grow?mib=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: len(set(pids) - set(made.worker_pids())) == 1, within_s=40)
        eventually(lambda: len(made.workers()) == 3)
        with Load(made.port(), 6) as load:
            load.until(lambda: load.successes() > 200)

    assert {} == load.errors()
    assert 2 == len(set(pids) & set(made.worker_pids()))
    records = [json.loads(line) for line in made.log().splitlines()]
    (record,) = [record for record in records if "death" in record]
    death = record["death"]
    assert {
        "signal": int(signal.SIGKILL),
        "kill_reason": None,
        "was_asked": False,
        "in_flight": 1,
        "route": "GET grows.Grow",
    }.items() <= death.items()
    assert "the kernel's log names it" == death["oom"] or "went up" in death["oom"]
    assert f"was ended by SIGKILL, for want of memory ({death['oom']})" in record["text"]
    assert death["pss_bytes"] is not None
    (row,) = [row for row in made.status()["workers"] if row["restarts"]]
    assert "for want of memory" in row["last_end"]


def test_a_kill_by_people_is_not_put_down_to_memory(
    make_group: MakeGroup, cluster: StartCluster
) -> None:
    """Evidence or nothing: the same signal, but the kernel has no word of it."""
    made = cluster(workers=1, wrapper=entering(make_group("memory", LIMITS)))
    os.kill(made.worker(0)["pid"], signal.SIGKILL)
    eventually(lambda: made.workers() and made.worker(0)["restarts"] == 1)

    assert "was ended by SIGKILL; replacing it" in made.log()
    assert "memory" not in made.log()
