"""One record per connection, and the row's figures that follow from them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.process import scoreboard as sb
from tornado_multi.worker.connections import Connections, ConnectionState, Routes

if TYPE_CHECKING:
    from collections.abc import Iterator


class Home:
    """Stands for a handler."""


class Shop:
    """Stands for another."""


# --- routes ---------------------------------------------------------------------------------------


class Told:
    """The supervisor's side: what names it was told."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def __call__(self, number: int, name: str) -> None:
        assert number not in self.names, "a route is named once"
        self.names[number] = name


def test_a_route_is_named_on_first_use() -> None:
    """Number and name go to the supervisor once; the number is the same from then on."""
    told = Told()
    routes = Routes(told)
    numbers = [
        routes.number("GET", Home),
        routes.number("POST", Home),
        routes.number("GET", Shop),
        routes.number("GET", Home),
    ]

    assert [1, 2, 3, 1] == numbers
    assert [f"GET {__name__}.Home", f"POST {__name__}.Home", f"GET {__name__}.Shop"] == list(
        told.names.values()
    )
    assert told.names == {number: routes.name(number) for number in told.names}


def test_a_request_without_a_handler_class_is_a_callback() -> None:
    """An app may be a plain function."""
    told = Told()
    Routes(told).number("GET", None)

    assert {1: "GET (callback)"} == told.names


def test_methods_are_a_closed_set() -> None:
    """Clients may send any word: it must not fill the table, the log or the channel."""
    told = Told()
    routes = Routes(told)
    numbers = {routes.number(f"X{index}", Home) for index in range(5000)}

    assert {1} == numbers
    assert {1: f"? {__name__}.Home"} == told.names


def test_every_known_method_has_its_own_number() -> None:
    """The words of RFC 9110 and PATCH that Tornado serves."""
    routes = Routes(Told())

    assert 7 == len({routes.number(method, Home) for method in Routes.METHODS})


def test_the_table_is_bounded() -> None:
    """Handler classes may be made at run time: beyond MOST they share one number."""
    told = Told()
    routes = Routes(told)
    kinds = [type(f"Made{index}", (), {}) for index in range(Routes.MOST + 100)]
    numbers = [routes.number("GET", kind) for kind in kinds]

    assert list(range(1, Routes.MOST + 1)) == numbers[: Routes.MOST]
    assert {Routes.MOST + 1} == set(numbers[Routes.MOST :])
    assert Routes.MOST + 1 == len(told.names)
    assert "(other)" == routes.name(Routes.MOST + 1)
    assert numbers == [routes.number("GET", kind) for kind in kinds]


# --- records --------------------------------------------------------------------------------------


class FakeStream:
    """A connection's stream, as far as records look at it."""

    def __init__(self) -> None:
        self._read_buffer_size = 0
        self.closed = False
        self.is_writing = False

    def writing(self) -> bool:
        return self.is_writing

    def close(self) -> None:
        self.closed = True


class FakeRequest:
    """A request's connection, as far as records look at it."""

    def __init__(self) -> None:
        self.stream: object = object()
        self._response_start_line: object = None
        self._write_finished = False
        self._disconnect_on_finish = False
        self._request_start_line: object = None
        self._request_headers: object = None


class FakeLingering:
    def __init__(self) -> None:
        self.count = 0

    def __len__(self) -> int:
        return self.count


class Bench:
    """Connections on a row, at a time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.board, self._fd = sb.Scoreboard.create()
        self.row = self.board.row(0)
        self.told = Told()
        self.lingering = FakeLingering()
        self.connections = Connections(
            self.row,
            Routes(self.told),
            self.lingering,  # type: ignore[arg-type]
            lambda: self.now_s,
        )

    def open(self) -> tuple[Any, Any]:
        """Open a connection; return its record and the request that it waits for."""
        stream, request = FakeStream(), FakeRequest()
        self.connections.opened(stream)  # type: ignore[arg-type]
        record = self.connections.records[stream]  # type: ignore[index]
        self.connections.became_idle(record, request)  # type: ignore[arg-type]
        return record, request

    def begin(self, record: Any) -> None:
        """Let a request's headers arrive."""
        self.connections.request_began(record)
        self.connections.request_routed(record, "GET", object())  # type: ignore[arg-type]

    def figures(self) -> tuple[int, int, int]:
        """Return requests, in flight, route number."""
        return tuple(  # type: ignore[return-value]
            self.row.load(field) for field in (sb.REQUESTS, sb.IN_FLIGHT, sb.ROUTE_ID)
        )

    def close(self) -> None:
        self.board.close()
        os.close(self._fd)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_a_request_from_headers_to_answer(bench: Bench) -> None:
    """Counted once when its headers are read; in flight until the next one is waited for."""
    record, _ = bench.open()

    assert ConnectionState.IDLE is record.state
    assert (0, 0, 0) == bench.figures()

    bench.begin(record)

    assert ConnectionState.READING is record.state
    assert (1, 1, 1) == bench.figures()
    assert "GET (callback)" == record.handler_name

    bench.connections.request_read(record)

    assert ConnectionState.BUSY is record.state

    record.request._response_start_line = object()

    assert ConnectionState.STREAMING is record.state

    bench.connections.became_idle(record, FakeRequest())  # type: ignore[arg-type]

    assert ConnectionState.IDLE is record.state
    assert record.handler_name is None
    assert (1, 0, 0) == bench.figures()


def test_the_route_stands_while_any_request_is_in_flight(bench: Bench) -> None:
    """It is that of the request begun last; 0 when none is in flight."""
    first, _ = bench.open()
    second, _ = bench.open()
    bench.begin(first)
    bench.begin(second)
    bench.connections.closed(second.stream)

    assert (2, 1, 1) == bench.figures()

    bench.connections.closed(first.stream)

    assert (2, 0, 0) == bench.figures()


def test_a_connection_that_closes_ends_its_request_once(bench: Bench) -> None:
    """However it goes, in flight comes back to zero, never below."""
    record, _ = bench.open()
    bench.begin(record)
    bench.connections.closed(record.stream)
    bench.connections.closed(record.stream)

    assert (1, 0, 0) == bench.figures()
    assert {} == bench.connections.records


def test_a_websocket_is_no_request_in_flight(bench: Bench) -> None:
    """An upgraded connection may stay for days; its record stays with it."""
    record, _ = bench.open()
    bench.begin(record)
    bench.connections.upgraded(record)

    assert ConnectionState.UPGRADED is record.state
    assert (1, 0, 0) == bench.figures()
    assert [record] == list(bench.connections.records.values())


def test_the_last_response_is_whole_or_cut(bench: Bench) -> None:
    """Between requests, and when the handler has ended it and the stream has written it."""
    record, request = bench.open()
    said = [bench.connections.has_said_all(record.stream)]
    bench.begin(record)
    bench.connections.request_read(record)
    said.append(bench.connections.has_said_all(record.stream))
    request._response_start_line = object()
    said.append(bench.connections.has_said_all(record.stream))
    request._write_finished = record.stream.is_writing = True
    said.append(bench.connections.has_said_all(record.stream))
    record.stream.is_writing = False
    said.append(bench.connections.has_said_all(record.stream))
    bench.connections.closed(record.stream)

    assert [True, False, False, False, True] == said
    assert not bench.connections.has_said_all(record.stream)


def test_states_say_since_when(bench: Bench) -> None:
    """The beginning of the present state, on the loop's clock."""
    record, _ = bench.open()
    bench.now_s = 105.0
    bench.begin(record)

    assert 105.0 == record.since_s


# --- drain ----------------------------------------------------------------------------------------


def test_a_drain_ends_connections_with_the_response_in_hand(bench: Bench) -> None:
    """A request whose handler works is told that its connection ends; an idle one is left alone."""
    busy, busy_request = bench.open()
    _, idle_request = bench.open()
    bench.begin(busy)
    bench.connections.request_read(busy)
    bench.connections.begin_drain()

    assert (True, False) == (
        busy_request._disconnect_on_finish,
        idle_request._disconnect_on_finish,
    )


def test_a_request_that_comes_during_the_drain_is_the_last(bench: Bench) -> None:
    """It is answered, and its connection ends with it."""
    record, request = bench.open()
    bench.connections.begin_drain()
    bench.begin(record)
    bench.connections.request_read(record)

    assert request._disconnect_on_finish

    bench.connections.closed(record.stream)

    assert 1 == bench.connections.finished_while_draining


def test_pipelined_requests_that_were_read_are_answered(bench: Bench) -> None:
    """Where the next request lies in the buffer already, that one is the last, not this."""
    record, request = bench.open()
    bench.begin(record)
    bench.connections.request_read(record)
    record.stream._read_buffer_size = 40
    bench.connections.begin_drain()

    assert not request._disconnect_on_finish


def test_a_response_that_has_begun_is_left_as_it_is(bench: Bench) -> None:
    """Its headers have left without a word of the end."""
    record, request = bench.open()
    bench.begin(record)
    bench.connections.request_read(record)
    request._response_start_line = object()
    bench.connections.begin_drain()

    assert not request._disconnect_on_finish


def test_connections_are_open_until_the_last_has_lingered(bench: Bench) -> None:
    """A worker that leaves earlier would cut what the client has not read yet."""
    record, _ = bench.open()
    bench.lingering.count = 1

    assert bench.connections.are_open()

    bench.connections.closed(record.stream)

    assert bench.connections.are_open()

    bench.lingering.count = 0

    assert not bench.connections.are_open()


@pytest.mark.parametrize(
    ("state", "unread", "draining", "expected"),
    [
        ("idle", 0, False, False),
        ("idle", 10, False, True),
        ("idle", 0, True, True),
        ("reading", 0, False, True),
        ("busy", 0, False, False),
        ("busy", 10, False, True),
        ("upgraded", 10, True, False),
    ],
)
def test_a_close_that_could_meet_unread_input_lingers(
    bench: Bench,
    state: str,
    unread: int,
    draining: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    """Else the kernel answers with a reset, which throws away what the client has not read."""
    record, _ = bench.open()
    if state != "idle":
        bench.begin(record)
    if state == "busy":
        bench.connections.request_read(record)
    if state == "upgraded":
        bench.connections.upgraded(record)
    record.stream._read_buffer_size = unread
    bench.connections.draining = draining

    assert expected == bench.connections.closed(record.stream)


# --- sweep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unread", "waited_s", "expected"),
    [(0, 75.0, False), (0, 75.1, True), (10, 60.0, False), (10, 60.1, True)],
    ids=["idle", "idle too long", "slow headers", "slow headers too long"],
)
def test_who_sends_nothing_for_too_long_is_closed(
    bench: Bench,
    unread: int,
    waited_s: float,
    expected: bool,  # noqa: FBT001
) -> None:
    """Between requests and in the middle of a request's headers there are limits of their own.

    The time for headers counts from the sweep that first saw a part of them, however long the
    connection had been idle before.
    """
    record, _ = bench.open()
    if unread:
        bench.now_s += 74.0
        record.stream._read_buffer_size = unread
        bench.connections.sweep(idle_timeout_s=75.0, header_timeout_s=60.0)
    bench.now_s += waited_s
    bench.connections.sweep(idle_timeout_s=75.0, header_timeout_s=60.0)

    assert not record.stream.closed, "one look may have come before a request was read"

    bench.connections.sweep(idle_timeout_s=75.0, header_timeout_s=60.0)

    assert expected == record.stream.closed


def test_who_has_a_request_in_hand_is_never_swept(bench: Bench) -> None:
    """A slow handler and a websocket have no idle time."""
    busy, _ = bench.open()
    bench.begin(busy)
    socket_, _ = bench.open()
    bench.begin(socket_)
    bench.connections.upgraded(socket_)
    bench.now_s += 10_000.0
    bench.connections.sweep(idle_timeout_s=75.0, header_timeout_s=60.0)

    assert (False, False) == (busy.stream.closed, socket_.stream.closed)
