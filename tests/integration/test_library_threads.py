"""Clients that start threads: found by the library's name and the line, and not before they start."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.auditing import check
from support.cluster import VICTIMS
from support.marks import marks
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import StartCluster

pytestmark = pytest.mark.process

APP = "library_app:make_app"
PLANTED = {mark.function: mark for mark in marks(VICTIMS / "library_plants.py")}
EXPECTED = {
    "pymongo": ("error", "MongoClient that is open: threads "),
    "psycopg_pool": ("error", "ConnectionPool that is open: threads "),
    "kazoo": ("error", "ZooKeeper client that is started: threads "),
    "kafka_python": ("error", "Kafka client: thread "),
    "confluent_kafka": ("error", "Kafka client: native threads "),
    "grpc": ("error", "gRPC channel: native threads "),
    "sentry_sdk": ("warning", "Sentry has sent something: thread "),
    "opentelemetry": ("info", "OpenTelemetry's exporter: thread "),
    "tornado_client": ("error", "event loop of asyncio, made by Tornado's HTTP client"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_client_made_at_import_is_one_finding(name: str) -> None:
    """One finding names the library and the line, with all that belongs to it."""
    mark, (word, beginning) = PLANTED[name], EXPECTED[name]
    options = ["--trace"] if name == "confluent_kafka" else []
    found = [
        item
        for item in check(APP, {"PLANT": name}, *options)
        if item.word != "info" or word == "info"
    ]

    assert [(word, mark.kind, mark.file, mark.line)] == [
        (item.word, item.kind, item.file, item.line) for item in found
    ]
    assert found[0].what.startswith(beginning)


def test_without_a_trace_the_line_of_a_c_library_is_not_known_and_not_made_up() -> None:
    """No line is better than that of another statement, which imports something later."""
    found = [
        item for item in check(APP, {"PLANT": "confluent_kafka"}) if item.kind == "native-thread"
    ]

    assert [""] == [item.file for item in found]


def test_what_is_imported_or_not_yet_started_is_no_finding() -> None:
    """An app that follows the manuals has nothing to mend."""
    found = check(APP, {"PLANT": "lazy"})

    assert [] == [item for item in found if item.word != "info"]


@pytest.mark.parametrize("name", ["confluent_kafka", "grpc", "kazoo", "pymongo"])
def test_the_service_runs_and_ends_all_the_same(name: str, cluster: StartCluster) -> None:
    """Workers answer, are replaced, and leave in time, whatever the library wants at its end."""
    made = cluster(APP, environment={"PLANT": name})
    victim = made.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2 and victim not in made.worker_pids())

    assert int(made.get("/")) in made.worker_pids()
    assert 0 == made.stop()
