"""The accessor of an async factory: awaited, shared by tasks, tied to its loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tornado_multi.resources import lives
from tornado_multi.resources.creation import creating
from tornado_multi.resources.per_process import PerProcess, per_process

WITHIN_S = 30.0


class Client:
    """What a factory makes."""


class Door:
    """A factory that waits until it is let on, and counts its calls."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self) -> Any:
        self.calls += 1
        self.entered.set()
        await asyncio.wait_for(self.go_on.wait(), WITHIN_S)
        outcome = self.outcomes.pop(0) if self.outcomes else Client()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def ask(accessor: PerProcess[Any]) -> Any:
    return await asyncio.wait_for(accessor(), WITHIN_S)


def test_the_accessor_is_awaited_and_returns_the_object_itself() -> None:
    """At every call the same; the accessor stays a PerProcess."""

    async def scenario() -> None:
        @per_process
        async def accounts() -> Client:
            return Client()

        first = await accounts()

        assert Client is type(first)
        assert first is await accounts()
        assert isinstance(accounts, PerProcess)

    asyncio.run(scenario())


def test_tasks_share_one_creation() -> None:
    """However many come at once, the factory runs once and all get its object."""

    async def scenario() -> None:
        door = Door()
        accounts = per_process(door)
        tasks = [asyncio.create_task(ask(accounts)) for _ in range(50)]
        await door.entered.wait()
        door.go_on.set()

        assert 1 == len(set(await asyncio.gather(*tasks)))
        assert 1 == door.calls

    asyncio.run(scenario())


def test_a_waiter_that_is_cancelled_cancels_nothing_for_the_others() -> None:
    """Not even the one whose call began the creation."""

    async def scenario() -> None:
        door = Door()
        accounts = per_process(door)
        first = asyncio.create_task(ask(accounts))
        await door.entered.wait()
        second = asyncio.create_task(ask(accounts))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        door.go_on.set()

        assert isinstance(await second, Client)
        assert 1 == door.calls

    asyncio.run(scenario())


def test_a_creation_that_everybody_left_is_there_for_the_next() -> None:
    """It ends by itself, and what it made is closed and used like any other."""

    async def scenario() -> None:
        door = Door()
        accounts = per_process(door)
        only = asyncio.create_task(ask(accounts))
        await door.entered.wait()
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        door.go_on.set()

        assert isinstance(await ask(accounts), Client)
        assert 1 == door.calls

    asyncio.run(scenario())


def test_tasks_that_wait_share_a_failure_and_the_next_call_tries_again() -> None:
    """A failed creation is not remembered."""

    async def scenario() -> None:
        door = Door(ConnectionError("no"), "yes")
        accounts = per_process(door)
        tasks = [asyncio.create_task(ask(accounts)) for _ in range(3)]
        await door.entered.wait()
        door.go_on.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)

        assert [ConnectionError] * 3 == [type(end) for end in ends]
        assert "yes" == await ask(accounts)
        assert 2 == door.calls

    asyncio.run(scenario())


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_creator_that_is_cancelled_leaves_its_place_to_a_waiter(has_begun: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Who began it gets an error that says so; who waited creates for himself."""

    async def scenario() -> None:
        door = Door()
        accounts = per_process(door)
        first = asyncio.create_task(ask(accounts))
        second = asyncio.create_task(ask(accounts))
        if has_begun:
            await door.entered.wait()
        else:
            for _ in range(9):
                await asyncio.sleep(0)
                if accounts._creation is not None:  # the call has begun, the creating task has not
                    break
            assert not door.entered.is_set()
        creation = accounts._creation
        assert creation.task is not None
        creation.task.cancel()

        with pytest.raises(RuntimeError, match="was cancelled"):
            await first
        door.go_on.set()
        assert isinstance(await second, Client)

    asyncio.run(scenario())


def test_a_factory_that_asks_for_itself_is_told_so() -> None:
    """In its own task, and in a task that it starts and awaits."""

    async def scenario() -> None:
        first: PerProcess[Any]
        second: PerProcess[Any]

        async def make_first() -> Any:
            return await asyncio.create_task(ask(second))

        async def make_second() -> Any:
            return await first()

        first = PerProcess(make_first, name="first")
        second = PerProcess(make_second, name="second")

        with pytest.raises(RuntimeError, match="first -> second -> first"):
            await ask(first)

    asyncio.run(scenario())


def test_a_circle_across_tasks_is_told_too() -> None:
    """Two tasks that create each other's needs do not wait for each other for ever."""

    async def scenario() -> None:
        begun: list[str] = []
        both = asyncio.Event()
        accessors: dict[str, PerProcess[Any]] = {}

        def needs(name: str, other: str) -> PerProcess[Any]:
            async def factory() -> Any:
                begun.append(name)
                if len(begun) == 2:
                    both.set()
                await both.wait()
                return await accessors[other]()

            return PerProcess(factory, name=name)

        accessors.update(left=needs("left", "right"), right=needs("right", "left"))
        ends = await asyncio.gather(*map(ask, accessors.values()), return_exceptions=True)

        assert all("is needed for its own creation" in str(end) for end in ends)

    asyncio.run(scenario())


def test_what_one_factory_needs_of_another_is_created_first() -> None:
    """Also when both are asked for at once; sync and async may be mixed."""

    async def scenario() -> None:
        order: list[str] = []
        base = PerProcess(lambda: order.append("base"), name="base")

        @per_process
        async def pool() -> None:
            base()
            await asyncio.sleep(0)
            order.append("pool")

        @per_process
        async def client() -> None:
            await asyncio.gather(pool(), pool())
            order.append("client")

        await asyncio.gather(client(), pool())

        assert ["base", "pool", "client"] == order
        assert order == [item.name.rpartition(".")[2] for item in lives.current.created]

    asyncio.run(scenario())


def test_creating_names_the_factory_whose_task_this_is() -> None:
    """Other tasks of the loop create nothing."""

    async def scenario() -> None:
        seen: list[str | None] = []
        door = Door()

        async def factory() -> None:
            seen.append(creating())
            await door()
            seen.append(creating())

        task = asyncio.create_task(ask(PerProcess(factory, name="accounts")))
        await door.entered.wait()
        seen.append(creating())
        door.go_on.set()
        await task

        assert ["accounts", None, "accounts"] == seen

    asyncio.run(scenario())


# --- loops ----------------------------------------------------------------------------------------


def test_a_closed_loop_takes_its_objects_with_it() -> None:
    """The next loop, of the next test for example, gets a new one."""

    async def factory() -> Client:
        return Client()

    accounts = per_process(factory)
    first, second = asyncio.run(ask(accounts)), asyncio.run(ask(accounts))

    assert first is not second
    assert 1 == len(lives.current.created)


def test_a_creation_that_its_loop_left_behind_is_begun_anew() -> None:
    """A loop that was closed in the midst of it keeps nobody waiting."""
    doors: list[Door] = []
    entered = asyncio.Event()

    async def factory() -> Client:
        doors.append(Door())
        entered.set()
        if len(doors) > 1:
            doors[-1].go_on.set()
        await doors[-1]()
        return Client()

    accounts = per_process(factory)
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        call = asyncio.ensure_future(ask(accounts))
        await asyncio.wait_for(entered.wait(), WITHIN_S)
        call.cancel()

    loop.run_until_complete(begin())
    with pytest.raises(RuntimeError, match="on another event loop, which does not run"):
        asyncio.run(ask(accounts))
    creation = accounts._creation
    assert creation is not None
    assert creation.task is not None
    creation.task._log_destroy_pending = False  # type: ignore[attr-defined]  # on purpose here
    loop.close()

    assert isinstance(asyncio.run(ask(accounts)), Client)


def test_the_loops_of_two_threads_share_one_object() -> None:
    """One per process: a second loop waits for the creation on the first, and gets its object."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    got: list[Client] = []

    async def factory() -> Client:
        begun.set()
        await asyncio.to_thread(may_end.wait, WITHIN_S)
        return Client()

    accounts = per_process(factory)

    async def first() -> None:
        got.append(await ask(accounts))
        await asyncio.to_thread(ended.wait, WITHIN_S)  # its loop stays open

    thread = threading.Thread(target=asyncio.run, args=(first(),))
    thread.start()
    assert begun.wait(WITHIN_S)

    async def second() -> None:
        call = asyncio.create_task(ask(accounts))
        await asyncio.sleep(0)
        may_end.set()
        got.append(await call)

    asyncio.run(second())
    ended.set()
    thread.join(WITHIN_S)

    assert got[0] is got[1]


def test_an_override_is_for_any_loop() -> None:
    """A fake of a test is not asked for its loop."""

    async def factory() -> Client:
        return Client()

    accounts = per_process(factory)
    with accounts.override("fake"):
        assert ["fake", "fake"] == [asyncio.run(ask(accounts)), asyncio.run(ask(accounts))]
    assert isinstance(asyncio.run(ask(accounts)), Client)
