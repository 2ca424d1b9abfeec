"""Fixtures of all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StartCluster(Protocol):
    def __call__(self, app: str = ..., *, ready: bool = ..., **options: Any) -> Cluster: ...


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Start supervisors for this test; at its end, stop them and prove that nothing is left."""
    started: list[Cluster] = []

    def start(app: str = "hello:make_app", *, ready: bool = True, **options: Any) -> Cluster:
        made = Cluster(tmp_path / f"c{len(started)}", app, **options)
        started.append(made)
        return made.wait_ready() if ready else made

    yield start
    problems = []
    for made in started:
        try:
            made.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)
