"""The end of resources: reverse order, failures told, deadlines, exit of the interpreter."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import tornado_multi
from tornado_multi.resources import lives
from tornado_multi.resources.closing import close_all, close_at_exit, close_resources
from tornado_multi.resources.per_process import PerProcess, per_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT_S = 0.2


class Closing:
    """Notes that it was closed."""

    def __init__(self, ends: list[str], name: str) -> None:
        self._ends = ends
        self._name = name

    def close(self) -> None:
        self._ends.append(self._name)


class ClosingAsync(Closing):
    """Prefers to be closed on a loop."""

    async def aclose(self) -> None:
        for _ in range(20):  # it takes more than one turn of the loop
            await asyncio.sleep(0)
        self._ends.append(f"{self._name} async")


async def create(*accessors: Any) -> None:
    for accessor in accessors:
        made = accessor()
        if asyncio.iscoroutine(made):
            await made


def test_they_are_closed_in_reverse_order_of_completed_creation() -> None:
    """What another one needed for its creation lives longer than that."""
    ends: list[str] = []
    base = per_process(lambda: Closing(ends, "base"))

    @per_process
    async def pool() -> Closing:
        base()
        return ClosingAsync(ends, "pool")

    last = PerProcess(object, close=lambda _: ends.append("last"))

    async def scenario() -> None:
        await create(pool, last)
        await close_resources()

    asyncio.run(scenario())

    assert ["last", "pool async", "base"] == ends
    assert [] == lives.current.created


def test_the_next_use_creates_anew() -> None:
    """A test may close what it used; the one after it has its own."""
    ends: list[str] = []
    accounts = per_process(lambda: Closing(ends, "accounts"))

    async def scenario() -> None:
        first = accounts()
        await tornado_multi.close_resources()

        assert first is not accounts()

    asyncio.run(scenario())

    assert ["accounts"] == ends


@pytest.mark.parametrize("value", [object(), 3, None, Closing, shutil])
def test_what_has_no_end_of_its_own_is_let_go(value: object) -> None:
    """An object without close or aclose, such as a random generator."""
    accessor = per_process(lambda: value)

    async def scenario() -> None:
        accessor()
        await close_resources()

    asyncio.run(scenario())

    assert [] == lives.current.created


def raises(_: object) -> None:
    raise ConnectionError("already gone")


def leaves(_: object) -> None:
    raise SystemExit(3)


async def raises_async(_: object) -> None:
    raise ConnectionError("already gone")


async def is_cancelled(_: object) -> None:
    raise asyncio.CancelledError


class OtherError(BaseException):
    """As some libraries have, for what nobody is to catch."""


def raises_other(_: object) -> None:
    raise OtherError


async def raises_other_async(_: object) -> None:
    raise OtherError


def passes_on(_: object) -> None:
    raise asyncio.CancelledError  # as the result of a task does that was cancelled


async def ends_as_a_generator(_: object) -> None:
    raise GeneratorExit


@pytest.mark.parametrize(
    "closer",
    [
        *(raises, leaves, raises_async, is_cancelled),
        *(raises_other, raises_other_async, passes_on, ends_as_a_generator),
    ],
)
def test_a_close_that_raises_is_logged_and_the_rest_still_runs(
    closer: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises, with the line that asked for the resource first."""
    ends: list[str] = []
    base = per_process(lambda: Closing(ends, "base"))
    bad = PerProcess(object, close=closer, name="shop.bad")

    async def scenario() -> None:
        await create(base, bad)
        await close_resources()

    asyncio.run(scenario())

    assert ["base"] == ends
    assert "The resource shop.bad (created at " in caplog.text
    assert __file__ in caplog.text
    assert "could not be closed" in caplog.text


class Proxy:
    """Has nothing to stand for yet."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_an_object_that_raises_when_it_is_asked_for_its_end_can_be_created() -> None:
    """It has no end then."""
    accessor = PerProcess(Proxy, name="shop.proxy")

    assert isinstance(accessor(), Proxy)


async def hangs(_: object) -> None:
    await asyncio.Event().wait()


async def hangs_and_swallows(_: object) -> None:
    over = asyncio.Event()
    with contextlib.suppress(asyncio.CancelledError):
        await over.wait()
    await over.wait()


@pytest.mark.parametrize("closer", [hangs, hangs_and_swallows])
def test_a_close_that_hangs_is_left_behind(
    closer: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The deadline is for all together, and each of the rest still gets its turn."""
    ends: list[str] = []
    rest = [per_process(lambda name=name: ClosingAsync(ends, name)) for name in "ab"]  # type: ignore[misc]
    bad = [PerProcess(object, close=closer, name=f"shop.bad{number}") for number in range(3)]

    async def scenario() -> float:
        await create(*rest, *bad)
        begun_s = time.monotonic()
        await close_resources(SHORT_S)
        return time.monotonic() - begun_s

    spent_s = asyncio.run(scenario())

    assert ["b async", "a async"] == ends
    assert 3 == caplog.text.count("did not close within")
    assert spent_s < 10


def test_a_sync_close_that_blocks_is_ended_by_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    """A worker lends its alarm for that; the block raises TimeoutError."""
    limits: list[float] = []

    @contextlib.contextmanager
    def limit(seconds: float) -> Iterator[None]:
        limits.append(seconds)
        yield

    def blocks(_: object) -> None:
        raise TimeoutError  # what the limit raises in it

    blocking = PerProcess(object, close=blocks, name="shop.blocking")

    async def scenario() -> None:
        blocking()
        await close_all(5.0, limit)

    asyncio.run(scenario())

    assert 1 == len(limits)
    assert 0 < limits[0] <= 5.0
    assert "The resource shop.blocking" in caplog.text
    assert "did not close within" in caplog.text


def test_closers_that_need_each_other_come_to_an_end() -> None:
    """What a closer creates is closed too, but not for ever."""
    ends: list[str] = []
    left: PerProcess[Any]
    right: PerProcess[Any]

    def close_left(_: object) -> None:
        ends.append("left")
        right()

    def close_right(_: object) -> None:
        ends.append("right")
        left()

    left = PerProcess(object, close=close_left)
    right = PerProcess(object, close=close_right)

    async def scenario() -> None:
        left()
        await close_resources()

    asyncio.run(scenario())

    assert ["left", "right"] == ends


def test_the_object_of_another_threads_loop_is_closed_there() -> None:
    """Its connections belong to that loop."""
    closed_on: list[str] = []
    created, closed = threading.Event(), threading.Event()

    async def close(_: object) -> None:
        closed_on.append(threading.current_thread().name)

    @per_process(close=close)
    async def elsewhere() -> object:
        return object()

    async def live() -> None:
        await elsewhere()
        created.set()
        await asyncio.to_thread(closed.wait, 30)

    thread = threading.Thread(target=asyncio.run, args=(live(),), name="other loop")
    thread.start()
    assert created.wait(30)
    asyncio.run(close_resources())
    closed.set()
    thread.join(30)

    assert ["other loop"] == closed_on


# --- at exit --------------------------------------------------------------------------------------


def test_at_exit_sync_closers_run(caplog: pytest.LogCaptureFixture) -> None:
    """In reverse order; one that raises is logged."""
    ends: list[str] = []
    first = per_process(lambda: Closing(ends, "first"))
    bad = PerProcess(object, close=raises, name="shop.bad")
    last = per_process(lambda: Closing(ends, "last"))
    for accessor in (first, bad, last):
        accessor()
    close_at_exit()

    assert ["last", "first"] == ends
    assert "The resource shop.bad" in caplog.text


def test_at_exit_what_needs_a_loop_is_named() -> None:
    """A warning that says how to close it; no 'coroutine was never awaited'."""
    ends: list[str] = []

    async def factory() -> Closing:
        return ClosingAsync(ends, "async")

    of_a_loop = PerProcess(factory, name="shop.of_a_loop")
    with_aclose = PerProcess(lambda: ClosingAsync(ends, "sync"), name="shop.with_aclose")
    asyncio.run(create(of_a_loop, with_aclose))

    with pytest.warns(ResourceWarning, match="was not closed: that takes an event loop") as seen:
        close_at_exit()

    assert ["shop.with_aclose", "shop.of_a_loop"] == [str(item.message).split()[2] for item in seen]
    assert [] == ends
