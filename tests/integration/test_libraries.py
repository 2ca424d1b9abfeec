"""Clients connected at import, of the libraries that are known: what their use in workers does."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.marks import marks
from support.waiting import eventually

from tornado_multi.testing.dubbo import DubboProvider
from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process
WORKERS = 3


@pytest.fixture
def made(request: pytest.FixtureRequest, cluster: StartCluster) -> Cluster:
    environment: dict[str, str] = {}
    for peer in ("postgres", "redis_peer", "echo_servers"):
        environment |= request.getfixturevalue(peer).environment
    return cluster("made_at_import:make_app", workers=WORKERS, environment=environment)


def answers(made: Cluster, name: str) -> dict[int, str]:
    """Return what each worker answers to its first call."""
    found: dict[int, str] = {}

    def ask() -> bool:
        url = f"http://127.0.0.1:{made.port()}/{name}"
        record = json.loads(fetch(url, headers={}, timeout_s=60).body)
        found.setdefault(record["pid"], record["answer"])
        return len(found) == WORKERS

    eventually(ask)
    return found


@pytest.mark.parametrize("name", ["requests", "httpx", "sqlalchemy", "redis", "memory"])
def test_what_can_connect_anew_does(made: Cluster, name: str) -> None:
    """No call fails, and where a server can tell, each worker has a session of its own."""
    found = answers(made, name)

    assert all(answer.startswith("ok ") for answer in found.values()), found
    if name in {"sqlalchemy", "redis"}:
        assert WORKERS == len(set(found.values()))


@pytest.mark.parametrize("name", ["psycopg", "psycopg-two"])
def test_what_can_not_says_which_line_has_made_it(made: Cluster, name: str) -> None:
    """The library's own error carries the sentence, as if the server had said it."""
    line = next(mark.line for mark in marks(VICTIMS / "made_at_import.py") if mark.kind == name)
    found = answers(made, name)

    assert all(f"made_at_import.py:{line}" in answer for answer in found.values()), found
    assert all("@tornado_multi.per_process" in answer for answer in found.values()), found


def test_findings_foretell_what_workers_make_of_it(made: Cluster) -> None:
    """What connects anew is said to be healed, what fails to be cut off."""
    names = {
        mark.line: mark.kind
        for mark in marks(VICTIMS / "made_at_import.py")
        if mark.kind != "redis"
    }
    found = made.status()["fork_safety"]["findings"]
    fates = {names.get(item["line"], item["library"]): item["fate"] for item in found}

    assert {"healed"} == {fates[name] for name in ("requests", "httpx", "sqlalchemy", "redis")}
    assert {"cut off"} == {fates[name] for name in ("psycopg", "psycopg-two")}


@pytest.mark.parametrize("name", ["random", "numpy", "numpy-seeded", "numpy-global"])
def test_random_numbers_differ(made: Cluster, name: str) -> None:
    """Each worker draws its own."""
    assert WORKERS == len(set(answers(made, name).values()))


@pytest.mark.parametrize("name", ["seeded", "numpy-allowed"])
def test_random_numbers_with_a_seed_of_their_own_stay_as_they_are(made: Cluster, name: str) -> None:
    """Whoever gives a seed wants these numbers; for numpy that has to be said with fork_safe."""
    assert 1 == len(set(answers(made, name).values()))


def test_the_zygote_keeps_its_sessions(made: Cluster) -> None:
    """Whatever workers do with their copies: the server's processes of the zygote stay the same."""
    for name in ("psycopg", "psycopg-two", "sqlalchemy", "requests"):
        answers(made, name)
    victim = made.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(made.workers()) == WORKERS and victim not in made.worker_pids())
    before_fork = re.compile(r"before fork \d (\d+) (\d+)")
    eventually(lambda: len(before_fork.findall(made.log())) == WORKERS + 1)
    forked = before_fork.findall(made.log())

    assert 1 == len(set(forked)), forked


def test_our_own_dubbo_client_is_no_error_and_begins_anew(cluster: StartCluster) -> None:
    """Called at import, it costs nobody a call, and strict lets it pass."""
    with DubboProvider() as provider:
        made = cluster(
            "dubbo_at_import:make_app",
            options=["--fork-safety", "strict"],
            workers=WORKERS,
            environment={"DUBBO": provider.address},
        )
        assert {"7"} == {str(answer) for answer in answers(made, "dubbo").values()}
        found = made.status()["fork_safety"]["findings"]
        assert {"handled"} == {item["severity"] for item in found}
        assert {"tornado_multi"} >= {item["library"] for item in found} - {None}
        assert 3 * WORKERS <= provider.accepted - 3
