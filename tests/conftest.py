"""Fixtures of all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support import java_providers, postgres_server, redis_server
from support.cluster import Cluster
from support.echo import EchoServers
from support.groups import control_groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.groups import MakeGroup
    from support.java_providers import JavaProvider
    from support.postgres_server import PostgresServer
    from support.redis_server import RedisServer


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


@pytest.fixture
def make_group() -> Iterator[MakeGroup]:
    """Make control groups. Named before ``cluster``, so that they are empty when they go."""
    with control_groups() as make:
        yield make


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this run."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def redis_peer() -> Iterator[RedisServer]:
    """A Redis server for all tests of this run."""
    with redis_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def echo_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoServers]:
    """Servers that send lines back, over TCP, a unix socket and TLS, and one of HTTP."""
    with EchoServers(tmp_path_factory.mktemp("echo")) as servers:
        yield servers


@pytest.fixture(scope="session", params=java_providers.MODULES)
def java_provider(request: pytest.FixtureRequest) -> Iterator[JavaProvider]:
    """A real Dubbo provider of each version in turn, for all tests of this run; never ended by one."""
    with java_providers.JavaProvider(request.param, payload=64 * 1024 * 1024) as provider:
        yield provider
