"""Handlers that hold up the loop: how their steps are timed, and what is told of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from tornado.web import RequestHandler

from tornado_multi.process import messages as msg
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.slow_steps import MOST_HANDLERS, SlowSteps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

HANDLER: Any = object()


class Clock:
    """Stands for perf_counter: time passes when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(private, "perf_counter", made)
    return made


class Timed:
    """Runs coroutines in timed steps, and keeps what took long."""

    def __init__(self, limit_s: float = 0.1) -> None:
        self.limit_s = limit_s
        self.long_s: list[float] = []

    def drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return private._in_steps(
            coroutine, HANDLER, self.limit_s, lambda _, spent_s: self.long_s.append(spent_s)
        )

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def main() -> Any:
            return await self.drive(coroutine)

        return asyncio.run(main())


# --- steps ----------------------------------------------------------------------------------------


def test_each_step_is_timed_by_itself_and_waiting_is_not(clock: Clock) -> None:
    """Work before, between and after awaits counts; what passes while it waits does not."""

    async def handler() -> None:
        clock.work(0.25)
        await pause(50.0)
        clock.work(0.05)
        await pause(50.0)
        clock.work(0.5)

    async def pause(seconds: float) -> None:
        asyncio.get_running_loop().call_soon(clock.work, seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    timed = Timed()
    timed.run(handler())

    assert [0.25, 0.5] == timed.long_s


def test_a_step_at_the_limit_is_not_slow(clock: Clock) -> None:
    """Longer than, not as long as."""

    async def handler() -> None:
        clock.work(0.125)

    timed = Timed(limit_s=0.125)
    timed.run(handler())

    assert [] == timed.long_s


def test_a_handler_that_awaits_often_is_charged_for_no_sum(clock: Clock) -> None:
    """A thousand short steps let the others run in between, however long they are together."""

    async def handler() -> int:
        for _ in range(1000):
            clock.work(0.01)
            await asyncio.sleep(0)
        return 7

    timed = Timed()

    assert 7 == timed.run(handler())
    assert [] == timed.long_s


@pytest.mark.parametrize("value", [None, 0, "text", (1, 2)])
def test_the_result_passes_through(value: object) -> None:
    """Whatever a coroutine returns, also after it has waited."""

    async def handler() -> object:
        await asyncio.sleep(0)
        return value

    assert value == Timed().run(handler())


def test_what_is_awaited_passes_through() -> None:
    """Futures reach the loop, and their results the coroutine."""

    async def handler() -> list[object]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "first")
        task = asyncio.create_task(asyncio.sleep(0, "second"))
        return [await future, await task, await asyncio.wait_for(asyncio.sleep(0, "third"), 60)]

    assert ["first", "second", "third"] == Timed().run(handler())


def test_an_error_passes_through_and_its_step_is_timed(clock: Clock) -> None:
    """With its own traceback: the line that raised is in it."""

    async def handler() -> None:
        await asyncio.sleep(0)
        clock.work(1.0)
        raise LookupError("no such shop")

    timed = Timed()
    with pytest.raises(LookupError, match="no such shop") as caught:
        timed.run(handler())

    assert "handler" in [entry.name for entry in caught.traceback]
    assert [1.0] == timed.long_s


def test_an_error_of_what_is_awaited_can_be_handled() -> None:
    """It is thrown into the coroutine at its await, and it may go on."""

    async def handler() -> str:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError("refused"))
        try:
            await future
        except ValueError as error:
            await asyncio.sleep(0)
            return f"handled {error}"
        return "not raised"

    assert "handled refused" == Timed().run(handler())


def test_a_cancelled_handler_can_tidy_up(clock: Clock) -> None:
    """CancelledError arrives at its await, its finally may wait, and the step is timed."""
    done: list[str] = []

    async def handler() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            clock.work(0.5)
            await asyncio.sleep(0)
            done.append("tidy")

    timed = Timed()

    async def main() -> None:
        async def wrapped() -> None:
            await timed.drive(handler())

        task = asyncio.create_task(wrapped())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert (["tidy"], [0.5]) == (done, timed.long_s)


def test_a_handler_may_refuse_to_be_cancelled() -> None:
    """As without us: what it returns afterwards is the result."""

    async def handler() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "stayed"
        return "not cancelled"

    async def main() -> str:
        async def wrapped() -> str:
            return str(await Timed().drive(handler()))

        task = asyncio.create_task(wrapped())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert "stayed" == asyncio.run(main())


def test_a_coroutine_that_is_dropped_is_closed() -> None:
    """GeneratorExit reaches it where it waits, so its finally runs, at once and once."""
    done: list[str] = []

    async def handler() -> None:
        try:
            await asyncio.Future(loop=loop)
        finally:
            done.append("finally")

    loop = asyncio.new_event_loop()
    coroutine = handler()  # kept, so that the collector does not close it in our place
    steps = Timed().drive(coroutine)
    awaited = steps.send(None)
    steps.close()
    loop.close()

    assert asyncio.isfuture(awaited)
    assert ["finally"] == done


def test_one_that_is_never_awaited_warns_as_ever() -> None:
    """Python's own warning names the coroutine of the app."""

    async def forgotten() -> None:
        """Never begun."""

    coroutine = forgotten()
    steps = Timed().drive(coroutine)
    del steps
    with pytest.warns(RuntimeWarning, match="forgotten.* was never awaited"):
        del coroutine


def test_context_variables_are_the_tasks() -> None:
    """What a handler sets in one step it finds in the next."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def handler() -> str:
        variable.set("set")
        await asyncio.sleep(0)
        return variable.get()

    assert "set" == Timed().run(handler())


def test_the_handlers_frames_are_found_beneath_ours() -> None:
    """The report of a blocked loop follows a task through our steps to the app's own line."""

    async def handler() -> None:
        """Not begun, so it has a frame."""

    coroutine = handler()
    steps = Timed().drive(coroutine)
    frame = steps.gi_frame

    assert coroutine is private.driven_by(frame)
    assert None is private.driven_by(inspect.currentframe())  # type: ignore[arg-type]

    steps.close()
    coroutine.close()


def test_whose_step_runs_is_noted_while_it_runs() -> None:
    """Two requests in flight: the one that begun last is not to blame for what the other does."""
    words = [9, 2]  # another request has begun last; two are in flight
    seen: list[int] = []
    mark = private.RouteMark(words, 0, 1, lambda _: 5)

    async def handler() -> None:
        seen.append(words[0])
        await asyncio.sleep(0)
        seen.append(words[0])
        words[1] = 0  # the requests are over: what runs on is no request's

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: seen.append(words[0]))
        await private._in_steps(handler(), HANDLER, 1.0, lambda *_: None, mark)

    asyncio.run(main())

    assert [5, 9, 5] == seen
    assert 0 == words[0]


# --- handlers of Tornado --------------------------------------------------------------------------


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[None]]:
    """Time all handlers while this test runs. Returns what Tornado would await."""
    monkeypatch.setattr(RequestHandler, "_execute", RequestHandler._execute)

    def call(kind: type[RequestHandler]) -> Awaitable[None]:
        handler = kind.__new__(kind)
        return handler._execute([])

    return call


def test_every_handler_is_timed_and_a_subclass_may_override(
    execute: Callable[..., Awaitable[None]], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tornado's ``_execute`` is what is timed; it is called with the handler and its arguments."""
    ran: list[object] = []

    async def original(self: RequestHandler, transforms: list[object]) -> None:
        ran.append((type(self), transforms))
        clock.work(0.3)

    class Basket(RequestHandler):
        pass

    monkeypatch.setattr(RequestHandler, "_execute", original)
    told: list[tuple[type, float]] = []
    private.time_steps(0.1, lambda handler, spent_s: told.append((type(handler), spent_s)))

    async def main() -> None:
        await execute(Basket)

    asyncio.run(main())

    assert [(Basket, [])] == ran
    assert [(Basket, 0.3)] == told


# --- what is told ---------------------------------------------------------------------------------


class Told:
    """The supervisor's side."""

    def __init__(self, limit_s: float = 0.1) -> None:
        self.sent: list[msg.SlowSteps] = []
        self.notices: list[tuple[str, str]] = []
        self.waited_s = 0.0
        self.steps = SlowSteps(
            limit_s,
            self.sent.append,
            lambda *what: self.notices.append(what),
            lambda: self.waited_s,
        )


class Request:
    method = "POST"


class Search:
    """Stands for a handler."""

    request = Request()


NAME = f"POST {__name__}.Search"


def test_slow_steps_are_told_at_the_next_beat_as_totals() -> None:
    """How often and the longest; nothing is sent while nothing changes."""
    told = Told()
    for spent_s in (0.2, 0.75, 0.3):
        told.steps._took_long(Search(), spent_s)

    assert [] == told.sent

    told.steps.at_beat()
    told.steps.at_beat()

    assert [msg.SlowSteps(NAME, 3, 0.75)] == told.sent

    told.steps._took_long(Search(), 0.2)
    told.steps.at_beat()

    assert msg.SlowSteps(NAME, 4, 0.75) == told.sent[-1]


def test_a_slow_step_is_said_in_the_log_and_again_when_one_is_much_slower() -> None:
    """Five times as slow as what was said; the rest is counted."""
    told = Told()
    for spent_s in (0.25, 0.5, 1.2, 1.25, 6.0, 0.25):
        told.steps._took_long(Search(), spent_s)

    assert ["0.25 s", "1.25 s"] == [text.split(" for ")[1][:6] for _, text in told.notices]
    assert 2 == len({key for key, _ in told.notices})


def test_what_one_worker_has_said_the_others_do_not_repeat() -> None:
    """The same handler and a block of the same order share a key."""
    one, other = Told(), Told()
    one.steps.took("Health", 0.25)
    other.steps.took("Health", 0.3)
    other.steps.took("Health", 0.1)

    assert one.notices[0][0] == other.notices[0][0]
    assert 1 == len(other.notices)


@pytest.mark.parametrize(("waited_s", "is_said"), [(0.1, False), (0.4, True), (9.0, True)])
def test_a_step_that_waited_for_a_cpu_is_no_fault_of_its_handler(
    waited_s: float,
    is_said: bool,  # noqa: FBT001 - a case
) -> None:
    """If that was half of its time at least, since the last beat."""
    told = Told()
    told.waited_s = 50.0
    told.steps.at_beat()
    told.waited_s += waited_s
    told.steps.took("Search", 0.5)

    assert is_said == (f"For {min(0.5, waited_s):.2f} s of that it waited" in told.notices[0][1])


def test_what_is_said_of_a_slow_step() -> None:
    """What, how long, and what that means for others."""
    told = Told()
    told.steps._took_long(Search(), 0.25)

    assert [
        (
            f"slow step {NAME} 0",
            (
                f"{NAME} held up the event loop for 0.25 s at a stretch; meanwhile its worker answered "
                "nobody else. The status counts such steps (slow_step_s)."
            ),
        )
    ] == told.notices


def test_a_handler_without_a_request_yet_is_counted_all_the_same() -> None:
    """An odd subclass must not turn a slow step into an error."""
    told = Told()
    told.steps._took_long(object(), 0.25)
    told.steps.at_beat()

    assert [msg.SlowSteps("? builtins.object", 1, 0.25)] == told.sent


@pytest.mark.parametrize("method", ["BREW", "X" * 5000, "\udc80"])
def test_a_word_that_a_client_made_up_is_no_name(method: str) -> None:
    """Clients may send any method: else they could fill the table and the log."""

    class Odd(Search):
        request = type("Request", (), {"method": method})()

    told = Told()
    told.steps._took_long(Odd(), 0.25)
    told.steps.at_beat()

    assert [f"? {__name__}.{Odd.__qualname__}"] == [item.handler for item in told.sent]


def test_the_table_is_bounded() -> None:
    """Handler classes may be made at run time: known ones are counted on, further ones are not."""
    told = Told()
    kinds = [type(f"Made{number}", (), {}) for number in range(MOST_HANDLERS + 50)]
    for kind in [*kinds, *kinds]:
        told.steps._took_long(kind(), 0.2)
    told.steps.at_beat()

    assert MOST_HANDLERS == len(told.sent)
    assert {2} == {message.count for message in told.sent}
