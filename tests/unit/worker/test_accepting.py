"""Taking connections from listeners that siblings share."""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.process import scoreboard as sb
from tornado_multi.worker import accepting as accepting_module
from tornado_multi.worker.accepting import (
    ACCEPTS_PER_WAKEUP,
    BEATING_WITHIN_NS,
    FAIR_SHARE,
    RESOURCE_PAUSE_S,
    STEP_ASIDE_AT_MOST_S,
    STEP_ASIDE_S,
    Accepting,
    may_accept,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# --- the decision ---------------------------------------------------------------------------------


def others_of(counts: list[int], index: int) -> list[int]:
    return [count for other, count in enumerate(counts) if other != index]


def accept_one(counts: list[int], rng: random.Random) -> int:
    """Let the workers wake in any order; the first that may takes the connection."""
    order = list(range(len(counts)))
    rng.shuffle(order)
    for index in order:
        if may_accept(counts[index], others_of(counts, index)):
            counts[index] += 1
            return index
    raise AssertionError(f"nobody may accept: {counts}")


@pytest.mark.parametrize("seed", range(50))
def test_forty_connections_over_four_workers_are_shared_fairly(seed: int) -> None:
    """No worker holds more than 1.25 times the mean, whoever wakes first."""
    rng = random.Random(seed)
    counts = [0, 0, 0, 0]
    for _ in range(40):
        accept_one(counts, rng)

    assert 40 == sum(counts)
    assert max(counts) <= FAIR_SHARE * 10


@pytest.mark.parametrize("seed", range(20))
def test_a_share_is_fair_at_each_step(seed: int) -> None:
    """Whoever accepts is within 1.25 times the mean then, or held the least; also as some leave."""
    rng = random.Random(seed)
    counts = [0] * rng.randint(2, 9)
    for _ in range(300):
        if rng.random() < 0.3 and sum(counts):
            index = rng.choice([index for index, count in enumerate(counts) if count])
            counts[index] -= 1
            continue
        before = list(counts)
        index = accept_one(counts, rng)
        mean = sum(counts) / len(counts)

        assert counts[index] <= FAIR_SHARE * mean or before[index] == min(before)


def test_somebody_may_always_accept() -> None:
    """Whatever each of up to four workers holds, a connection is taken by one of them."""
    for size in (1, 2, 3, 4):
        for counts in itertools.product(range(7), repeat=size):
            listed = list(counts)

            assert any(
                may_accept(count, others_of(listed, index)) for index, count in enumerate(listed)
            ), listed


def test_who_holds_the_least_may_always_accept() -> None:
    """However many the others hold."""
    rng = random.Random(1)
    for _ in range(500):
        counts = [rng.randint(0, 10_000) for _ in range(rng.randint(2, 64))]
        least = counts.index(min(counts))

        assert may_accept(counts[least], others_of(counts, least))


def test_who_is_alone_may_accept() -> None:
    """No other worker is ready: there is nobody to leave it to."""
    assert may_accept(0, [])
    assert may_accept(1_000_000, [])


def test_who_holds_far_more_than_the_others_may_not() -> None:
    """That is the point of it."""
    assert not may_accept(2, [0])
    assert not may_accept(13, [10, 10, 10])
    assert may_accept(12, [11, 11, 11])


# --- accepting ------------------------------------------------------------------------------------


@dataclass
class Timer:
    at_s: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLoop:
    """A loop whose time passes, and whose listeners wake, when a test says so."""

    now_s: float = 1000.0
    readers: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = field(default_factory=dict)
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now_s

    def add_reader(self, sock: Any, call: Callable[..., None], *arguments: Any) -> None:
        self.readers[sock.fileno()] = (call, arguments)

    def remove_reader(self, sock: Any) -> None:
        del self.readers[sock.fileno()]

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now_s + delay_s, call))
        return self.timers[-1]

    def wake(self) -> None:
        """Tell each watched listener that it is readable."""
        for call, arguments in list(self.readers.values()):
            call(*arguments)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self.timers if timer.at_s <= self.now_s]
        self.timers = [timer for timer in self.timers if timer.at_s > self.now_s]
        for timer in due:
            if not timer.cancelled:
                timer.call()


class Bench:
    """One worker's Accepting on a real listener, with siblings that are rows of a scoreboard."""

    def __init__(self, max_connections: int | None = None) -> None:
        self.loop = FakeLoop()
        self.board, self._board_fd = sb.Scoreboard.create()
        self.board.clear_row(0)
        self.board.row(0).store(sb.STATE, sb.RowState.READY)
        self.notices: list[str] = []
        self.accepting = Accepting(
            self.loop,  # type: ignore[arg-type]
            self.board,
            self.board.row(0),
            max_connections,
            lambda key, _text: self.notices.append(key),
        )
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.clients: list[socket.socket] = []
        self.taken: list[socket.socket] = []

    def start(self) -> None:
        self.accepting.add(self.listener, self.take)

    def take(self, sock: socket.socket, _address: object) -> None:
        self.taken.append(sock)
        self.accepting.opened()

    def connect(self, count: int) -> None:
        address = self.listener.getsockname()
        self.clients += [socket.create_connection(address) for _ in range(count)]

    def sibling(self, row: int, connections: int, **fields: int) -> None:
        """Put a sibling on the board: ready and beating, unless said otherwise."""
        self.board.clear_row(row)
        handle = self.board.row(row)
        handle.store(sb.STATE, fields.get("state", sb.RowState.READY))
        handle.store(sb.CONNECTIONS, connections)
        now_ns = int(self.loop.now_s * 1_000_000_000)
        handle.store(sb.BEAT_NS, now_ns - fields.get("beat_age_ns", 0))

    def own(self, connections: int) -> None:
        """Pretend to hold so many connections."""
        self.accepting.connections = connections

    def close(self) -> None:
        for sock in (*self.clients, *self.taken, self.listener):
            sock.close()
        self.board.close()
        os.close(self._board_fd)


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(max_connections: int | None = None) -> Bench:
        made.append(Bench(max_connections))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def test_a_worker_alone_takes_what_comes(bench: Bench) -> None:
    """Accepted sockets never block, and the row says how many there are."""
    bench.start()
    bench.connect(3)
    bench.loop.wake()

    assert 3 == len(bench.taken)
    assert [False] * 3 == [sock.getblocking() for sock in bench.taken]
    assert 3 == bench.board.row(0).load(sb.CONNECTIONS)

    bench.accepting.closed()

    assert 2 == bench.board.row(0).load(sb.CONNECTIONS)


def test_a_few_connections_per_wakeup(bench: Bench) -> None:
    """The first worker to wake doesn't hoard a whole burst."""
    bench.start()
    bench.connect(ACCEPTS_PER_WAKEUP + 3)
    bench.loop.wake()

    assert ACCEPTS_PER_WAKEUP == len(bench.taken)

    bench.loop.wake()

    assert ACCEPTS_PER_WAKEUP + 3 == len(bench.taken)


def test_a_sibling_that_was_faster_is_no_error(bench: Bench) -> None:
    """The listener is shared: there may be nothing left when we look."""
    bench.start()
    bench.loop.wake()

    assert [] == bench.taken


def test_who_has_its_share_steps_aside(bench: Bench) -> None:
    """It doesn't watch its listeners for a moment, so that a sibling takes the connection."""
    bench.sibling(1, 0)
    bench.own(5)
    bench.start()
    bench.connect(1)
    bench.loop.wake()

    assert [] == bench.taken
    assert {} == bench.loop.readers

    bench.loop.pass_time(STEP_ASIDE_S)

    assert [bench.listener.fileno()] == list(bench.loop.readers)


def test_a_connection_that_nobody_takes_is_taken_after_all(bench: Bench) -> None:
    """Siblings may all be busy: after 20 ms fairness gives way."""
    bench.sibling(1, 0)
    bench.own(5)
    bench.start()
    bench.connect(1)
    begun_s = bench.loop.now_s
    while not bench.taken:
        bench.loop.wake()
        bench.loop.pass_time(STEP_ASIDE_S)

        assert bench.loop.now_s - begun_s < 2 * STEP_ASIDE_AT_MOST_S
    assert bench.loop.now_s - begun_s >= STEP_ASIDE_AT_MOST_S


def test_each_connection_is_waited_for_anew(bench: Bench) -> None:
    """A sibling took the last one: the next is not ours at once because we waited for that."""
    bench.sibling(1, 0)
    bench.own(5)
    bench.start()
    bench.connect(1)
    bench.loop.wake()
    bench.loop.pass_time(STEP_ASIDE_S)
    bench.listener.accept()[0].close()  # the sibling
    bench.loop.pass_time(10 * STEP_ASIDE_AT_MOST_S)
    bench.connect(1)
    bench.loop.wake()

    assert [] == bench.taken


@pytest.mark.parametrize(
    "fields",
    [
        {"state": sb.RowState.DRAINING},
        {"state": sb.RowState.STARTING},
        {"state": sb.RowState.FREE},
        {"beat_age_ns": BEATING_WITHIN_NS + 1},
    ],
    ids=["draining", "starting", "gone", "hanging"],
)
def test_a_sibling_that_takes_nothing_does_not_count(bench: Bench, fields: dict[str, int]) -> None:
    """Stepping aside for somebody who doesn't accept would only delay the client."""
    bench.sibling(1, 0, **fields)
    bench.own(5)
    bench.start()
    bench.connect(1)
    bench.loop.wake()

    assert 1 == len(bench.taken)


def test_a_full_worker_waits_for_room(make_bench: Callable[..., Bench]) -> None:
    """At max_connections it stops, says so once, and goes on as soon as one has left."""
    bench = make_bench(max_connections=2)
    bench.start()
    bench.connect(3)
    bench.loop.wake()

    assert 2 == len(bench.taken)
    assert ["max_connections"] == bench.notices
    assert {} == bench.loop.readers

    bench.accepting.closed()
    bench.loop.wake()

    assert 3 == len(bench.taken)


def test_a_stopped_worker_takes_nothing_and_closes_nothing(bench: Bench) -> None:
    """A drain begins so; siblings share the listener."""
    bench.start()
    bench.connect(1)
    bench.loop.wake()
    bench.accepting.stop()
    bench.accepting.closed()
    bench.loop.pass_time(10.0)

    assert {} == bench.loop.readers
    assert bench.listener.fileno() >= 0

    bench.accepting.add(bench.listener, bench.take)

    assert {} == bench.loop.readers


def test_a_listener_of_its_own_is_emptied_and_ended(bench: Bench) -> None:
    """No sibling takes what is queued there, and the kernel must not queue more."""
    bench.accepting.add(bench.listener, bench.take, is_own=True)
    bench.connect(7)
    bench.accepting.stop()

    assert 7 == len(bench.taken)
    with pytest.raises(ConnectionRefusedError):
        bench.connect(1)


def test_a_stop_in_the_middle_of_a_wakeup_is_heeded(bench: Bench) -> None:
    """What handles a connection may stop us: the rest is a sibling's."""

    def take_and_stop(sock: socket.socket, address: object) -> None:
        bench.take(sock, address)
        bench.accepting.stop()

    bench.accepting.add(bench.listener, take_and_stop)
    bench.connect(3)
    bench.loop.wake()

    assert 1 == len(bench.taken)


def test_a_stop_while_stepping_aside_is_heeded(bench: Bench) -> None:
    """The timer that would watch again does nothing."""
    bench.sibling(1, 0)
    bench.own(5)
    bench.start()
    bench.connect(1)
    bench.loop.wake()
    bench.accepting.stop()
    bench.loop.pass_time(1.0)

    assert {} == bench.loop.readers


def test_all_listeners_are_watched_together(bench: Bench) -> None:
    """Who steps aside does so on each of them."""
    second = socket.create_server(("127.0.0.1", 0))
    second.setblocking(False)
    bench.sibling(1, 0)
    bench.own(5)
    bench.start()
    bench.accepting.add(second, bench.take)

    assert {bench.listener.fileno(), second.fileno()} == set(bench.loop.readers)

    bench.connect(1)
    bench.loop.wake()

    assert {} == bench.loop.readers

    second.close()


class FailingListener:
    """A listener whose accept fails."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self.errors = list(errors)

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return self._sock.accept()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_worker_short_of_resources_pauses(bench: Bench, number: int) -> None:
    """It neither spins nor dies: the listener stays readable, so it looks away for a moment."""
    listener = FailingListener(bench.listener, OSError(number, "short"))
    bench.accepting.add(listener, bench.take)  # type: ignore[arg-type]
    bench.connect(1)
    bench.loop.wake()

    assert [f"accept {number}"] == bench.notices
    assert {} == bench.loop.readers

    bench.loop.pass_time(RESOURCE_PAUSE_S)
    bench.loop.wake()

    assert 1 == len(bench.taken)


def test_a_client_that_left_the_queue_is_passed_over(bench: Bench) -> None:
    """ECONNABORTED is its affair; the next one is taken in the same wakeup."""
    listener = FailingListener(bench.listener, ConnectionAbortedError())
    bench.accepting.add(listener, bench.take)  # type: ignore[arg-type]
    bench.connect(1)
    bench.loop.wake()

    assert 1 == len(bench.taken)


def test_another_error_of_accept_is_not_hidden(bench: Bench) -> None:
    """What we don't know is for the log."""
    listener = FailingListener(bench.listener, OSError(errno.EBADF, "Bad file descriptor"))
    bench.accepting.add(listener, bench.take)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="Bad file descriptor"):
        bench.loop.wake()


def test_files_are_left_for_the_app(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near RLIMIT_NOFILE accepting stops, until files have been closed."""
    lowest = os.dup(0)
    os.close(lowest)
    limit = lowest + 40
    monkeypatch.setattr(
        accepting_module.resource, "getrlimit", lambda _what: (int(limit / 0.9) + 1, 4096)
    )
    bench = make_bench()
    bench.start()
    for _ in range(30):
        bench.connect(1)
        bench.loop.wake()
    held = len(bench.taken)

    assert ["files"] == bench.notices
    assert {} == bench.loop.readers
    assert held < 30

    bench.loop.pass_time(RESOURCE_PAUSE_S)

    assert {} == bench.loop.readers

    for sock in (*bench.clients, *bench.taken):
        sock.close()
    bench.loop.pass_time(RESOURCE_PAUSE_S)
    bench.loop.wake()  # others wait in the queue

    assert held < len(bench.taken)
