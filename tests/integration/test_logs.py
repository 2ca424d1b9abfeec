"""Log files of real workers: nothing lost, nothing doubled, and the command that reads them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
from support.commands import run_command

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

WORKERS = 4
GENERATIONS = 3
RECORDS = int(os.environ.get("LOG_RECORDS", "10000"))
"""Per fork_id, shared among the generations."""
PER_PROCESS = -(-RECORDS // GENERATIONS)
RECORD = re.compile(
    r"\S+ \S+ INFO +worker fork_id=(?P<fork_id>\d+) gen=(?P<generation>\d) pid=(?P<pid>\d+): many: "
    r"<(?P<place>\d+) (?P<own_pid>\d+) (?P<number>\d+) (?P<digest>\w+) (?P<body>\w+)>"
)
OF_SUPERVISOR = re.compile(r"\S+ \S+ INFO +(?:worker fork_id=[ =\w]+|supervisor): [A-Z]|    ")
"""What it says of a worker or of the service; the startup block has further lines."""


def log_files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if not path.name.endswith(".lock")]


def reload(made: Cluster) -> None:
    done = run_command(made, "reload", "--no-wait-drain")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["log_dir", "log_file"])
def test_every_record_is_there_once_and_whole(
    cluster: StartCluster, tmp_path: Path, mode: str
) -> None:
    """Files that are rotated each second and at 2 MiB, and two reloads: no record is lost, doubled or cut.

    Each process writes on while it drains, so an old and a new worker of one fork_id share a file.
    """
    logs = tmp_path / "logs"
    place = logs if mode == "log_dir" else logs / "all.log"
    made = cluster(
        "many_records:make_app",
        workers=WORKERS,
        environment={"RECORDS": str(PER_PROCESS)},
        options=[
            f"--{mode.replace('_', '-')}={place}",
            "--log-rotate-every-s=1",
            f"--log-max-bytes={2 * 1024 * 1024}",
            "--log-backups=20000",
            "--hook-timeout-s=600",
            "--drain-timeout-s=600",
        ],
    )
    for _ in range(GENERATIONS - 1):
        reload(made)
    assert run_command(made, "stop").returncode == 0

    seen: Counter[tuple[str, int]] = Counter()
    owners: dict[str, str] = {}
    pids: dict[str, list[str]] = defaultdict(list)
    rotations = 0
    for path in log_files(logs):
        rotations += path.name[-1].isdigit()
        for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
            found = RECORD.fullmatch(line)
            if found is None:
                assert "zygote" in line or OF_SUPERVISOR.match(line), line[:200]
                continue
            seen[found["pid"], int(found["number"])] += 1
            owners[found["pid"]] = found["fork_id"]
            pids[path.name].append(found["pid"])
            assert found["digest"] == hashlib.md5(found["body"].encode()).hexdigest()
            assert (found["fork_id"], found["pid"]) == (found["place"], found["own_pid"])
            assert path.name.startswith(
                f"many_records.{found['fork_id']}.log" if mode == "log_dir" else "all.log"
            )

    assert WORKERS * GENERATIONS == len(owners)
    assert Counter({str(place): GENERATIONS for place in range(WORKERS)}) == Counter(
        owners.values()
    )
    wanted = {(pid, number) for pid in owners for number in range(PER_PROCESS)}
    assert wanted == set(seen)
    assert {1} == set(seen.values())
    assert rotations >= 2 * WORKERS
    shared = [name for name, found in pids.items() if changes(found) > 4]
    assert shared, "no file was written by two processes at a time"


def changes(items: list[str]) -> int:
    """How often the next item is another one."""
    return sum(one != other for one, other in itertools.pairwise(items))
