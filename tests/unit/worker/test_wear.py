"""When a worker asks for its successor: requests, memory, age."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb
from tornado_multi.settings.model import MIB_BYTES, HealthSettings
from tornado_multi.worker.connections import Connections, Routes
from tornado_multi.worker.wear import AGE_JITTER, PATIENCE_S, UNMEASURED_BEATS, Wear

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeStream:
    """A connection's stream, as far as its record looks at it."""

    _read_buffer_size = 0


class FakeRequest:
    """A request's connection, as far as its record looks at it."""

    stream = object()
    _response_start_line = None
    _request_start_line = None
    _request_headers = None
    _disconnect_on_finish = False


class FakeAccepting:
    def __init__(self) -> None:
        self.held_s: list[float] = []

    def hold(self, for_s: float) -> None:
        self.held_s.append(for_s)


class Bench:
    """A worker with limits, at a time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.board, self._fd = sb.Scoreboard.create()
        self.row = self.board.row(0)
        self.accepting = FakeAccepting()
        self.sent: list[msg.Worn] = []
        self.said: list[str] = []

    def limit(self, **settings: Any) -> Wear:
        self.connections = Connections(
            self.row,
            Routes(lambda _number, _name: None),
            None,  # type: ignore[arg-type]
            lambda: self.now_s,
        )
        return Wear(
            HealthSettings(**settings),
            self.row,
            self.connections,
            self.accepting,  # type: ignore[arg-type]
            send=self.sent.append,
            notice=lambda _key, text: self.said.append(text),
            clock=lambda: self.now_s,
        )

    def request(self) -> bool:
        """Let a request come and be answered. Returns whether its connection ends with it."""
        stream: Any = FakeStream()
        self.connections.opened(stream)
        record: Any = self.connections.records[stream]
        record.request = FakeRequest()
        self.connections.request_began(record)
        self.connections.request_read(record)
        del self.connections.records[stream]
        self.row.add(sb.IN_FLIGHT, -1)
        return bool(record.request._disconnect_on_finish)

    def reasons(self) -> list[str]:
        return [message.reason for message in self.sent]

    def close(self) -> None:
        self.board.close()
        os.close(self._fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


# --- requests -------------------------------------------------------------------------------------


def test_the_last_request_within_the_limit_ends_its_connection(bench: Bench) -> None:
    """Four responses keep their connections, the fifth says that it is the last."""
    bench.limit(max_requests=5)

    assert [False] * 4 + [True] == [bench.request() for _ in range(5)]
    assert ["it has answered 5 requests (max_requests)"] == bench.reasons()


def test_requests_after_the_limit_are_answered_and_are_the_last_too(bench: Bench) -> None:
    """A limit never costs a request; the successor is asked for once."""
    bench.limit(max_requests=5)

    assert [True] * 5 == [bench.request() for _ in range(9)][4:]
    assert 1 == len(bench.sent)


def test_what_is_queued_is_left_to_the_successor_for_a_moment(bench: Bench) -> None:
    """Connections wait in the backlog instead of going to a worker that would close them."""
    bench.limit(max_requests=2)
    bench.request()

    assert [] == bench.accepting.held_s

    bench.request()
    bench.request()

    assert [PATIENCE_S] == bench.accepting.held_s


def test_without_a_limit_no_request_is_the_last(bench: Bench) -> None:
    """The default wears nobody out."""
    wear = bench.limit()
    bench.row.store(sb.PSS_BYTES, 1 << 50)
    bench.now_s += 1e9
    wear.at_beat()

    assert not any(bench.request() for _ in range(1000))
    assert [] == bench.sent


def test_the_jitter_adds_up_to_its_number_by_chance(bench: Bench) -> None:
    """Each worker has a limit of its own between max_requests and that plus the jitter."""
    limits = set()
    for _ in range(60):
        bench.row.store(sb.REQUESTS, 0)
        bench.limit(max_requests=10, max_requests_jitter=3)
        limits.add([bench.request() for _ in range(20)].index(True) + 1)

    assert {10, 11, 12, 13} == limits


# --- memory and age -------------------------------------------------------------------------------


def test_memory_is_looked_at_at_each_beat(bench: Bench) -> None:
    """At the limit it stays, above it is replaced; nothing is held back, it serves as before."""
    wear = bench.limit(max_memory_bytes=100 * MIB_BYTES)
    wear.at_beat()
    bench.row.store(sb.PSS_BYTES, 100 * MIB_BYTES)
    wear.at_beat()

    assert [] == bench.sent

    bench.row.store(sb.PSS_BYTES, 100 * MIB_BYTES + 1)
    wear.at_beat()
    wear.at_beat()

    assert ["it uses 104857601 bytes of memory (max_memory_bytes)"] == bench.reasons()
    assert [] == bench.accepting.held_s


def test_an_old_worker_is_replaced_and_workers_of_one_start_not_together(bench: Bench) -> None:
    """After max_age_s and up to a tenth more, by chance."""
    begun_s = bench.now_s
    ages_s = set()
    for _ in range(30):
        bench.now_s = begun_s
        bench.sent.clear()
        wear = bench.limit(max_age_s=100.0)
        while not bench.sent:
            bench.now_s += 0.5
            wear.at_beat()
        ages_s.add(bench.now_s - begun_s)

    assert 100.0 <= min(ages_s)
    assert max(ages_s) <= 100.0 * (1 + AGE_JITTER) + 0.5
    assert len(ages_s) > 3
    assert ["it is older than 100 s (max_age_s)"] == bench.reasons()


def test_a_worker_that_reaches_two_limits_at_once_says_so_once(bench: Bench) -> None:
    """One successor is enough, for the first reason that was found."""
    wear = bench.limit(max_requests=1, max_age_s=1.0, max_memory_bytes=MIB_BYTES)
    bench.now_s += 10
    bench.row.store(sb.PSS_BYTES, 2 * MIB_BYTES)
    wear.at_beat()
    bench.request()

    assert ["it is older than 1 s (max_age_s)"] == bench.reasons()


def test_a_limit_below_what_a_new_worker_uses_replaces_nobody(bench: Bench) -> None:
    """Its successors would be as large: they would follow each other for ever, and help nobody."""
    wear = bench.limit(max_memory_bytes=100 * MIB_BYTES)
    wear.at_beat()
    bench.row.store(sb.PSS_BYTES, 120 * MIB_BYTES)
    wear.at_beat()
    bench.row.store(sb.PSS_BYTES, 200 * MIB_BYTES)
    wear.at_beat()

    assert [] == bench.sent
    (said,) = bench.said
    assert "uses 125829120 bytes of memory already, more than its limit of 104857600" in said


def test_memory_that_is_never_measured_is_said_once(bench: Bench) -> None:
    """A limit that can have no effect is no secret."""
    wear = bench.limit(max_memory_bytes=100 * MIB_BYTES)
    for _ in range(2 * UNMEASURED_BEATS):
        wear.at_beat()
    without = bench.limit()
    for _ in range(2 * UNMEASURED_BEATS):
        without.at_beat()

    (said,) = bench.said
    assert "max_memory_bytes has no effect" in said
