"""The accessor of a sync factory: once per process, on first use, the object itself."""

from __future__ import annotations

import contextlib
import functools
import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.waiting import eventually

import tornado_multi
from tornado_multi.resources.creation import creating
from tornado_multi.resources.per_process import PerProcess, per_process


class Client:
    """What a factory makes."""


@per_process
def at_module_level() -> Client:
    """Say what it is."""
    return Client()


# --- declaring ------------------------------------------------------------------------------------


def test_nothing_is_created_before_the_first_use() -> None:
    """Declaring costs nothing and opens nothing."""
    made: list[Client] = []
    accounts = PerProcess(lambda: made.append(Client()))

    assert [] == made

    accounts()

    assert 1 == len(made)


def test_the_accessor_returns_the_object_itself() -> None:
    """isinstance, identity and C code see what the factory returned, at every call."""
    made = [Client(), Client()]
    accounts = per_process(made.pop)

    first = accounts()

    assert Client is type(first)
    assert first is accounts()
    assert 1 == len(made)


@pytest.mark.parametrize("value", [None, 0, False, "", NotImplemented])
def test_any_object_can_be_a_resource(value: object) -> None:
    """What is falsy or None is created once too."""
    calls: list[int] = []

    def factory() -> object:
        calls.append(1)
        return value

    accounts = per_process(factory)

    assert [value, value] == [accounts(), accounts()]
    assert [1] == calls


def test_it_is_declared_with_and_without_keywords() -> None:
    """Bare, with keywords, and as PerProcess: the same."""

    @per_process(name="shop accounts")
    def named() -> Client:
        return Client()

    direct = tornado_multi.PerProcess(Client, name="direct")

    assert "shop accounts" == named.name
    assert named() is named()
    assert direct() is direct()


def test_it_is_named_by_its_factory() -> None:
    """Status shows module and name; the accessor looks like the function that it was."""
    assert at_module_level.name.endswith("test_per_process.at_module_level")
    assert "Say what it is." == at_module_level.__doc__
    assert PerProcess(Client).name.endswith("test_per_process.Client")
    assert PerProcess(functools.partial(dict, a=1)).name == "builtins.dict"


def test_it_pickles_by_name_as_functions_do() -> None:
    """Multiprocessing can send it: the other process finds its own accessor."""
    import copy

    assert at_module_level is copy.deepcopy(at_module_level)
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(PerProcess(functools.partial(dict)))


def one_argument(_host: str) -> Client:
    return Client()


def generator() -> Any:
    yield Client()


async def async_generator() -> Any:
    yield Client()


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (one_argument, "must not need arguments; it needs '_host'"),
        (generator, "yields. Return the object, and pass close="),
        (async_generator, "yields."),
        (Client(), "A factory is a function without arguments"),
    ],
)
def test_what_cannot_be_a_factory_is_refused_at_once(factory: Any, text: str) -> None:
    """The mistake shows at import, not at the first request."""
    with pytest.raises(TypeError, match=text):
        per_process(factory)


def test_a_sync_factory_that_returns_a_coroutine_is_refused() -> None:
    """It could be awaited only once."""

    async def connect(_host: int) -> Client:
        return Client()

    accounts = per_process(lambda: connect(1))

    with pytest.raises(TypeError, match="returned a coroutine"):
        accounts()


# --- failing --------------------------------------------------------------------------------------


def test_a_failed_creation_is_not_remembered() -> None:
    """The error reaches the caller as it was raised, and the next call tries again."""
    outcomes: list[Any] = [ConnectionError("no"), "yes"]

    def factory() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    accounts = per_process(factory)

    with pytest.raises(ConnectionError, match="no") as caught:
        accounts()
    assert caught.value.__context__ is None
    assert "yes" == accounts()


def test_a_factory_that_asks_for_itself_is_told_so() -> None:
    """An error that names the circle, not a deadlock."""
    first: PerProcess[Any] = PerProcess(lambda: [second()], name="first")
    second: PerProcess[Any] = PerProcess(lambda: [third()], name="second")
    third: PerProcess[Any] = PerProcess(lambda: [first()], name="third")

    with pytest.raises(RuntimeError, match="first -> second -> third -> first"):
        first()
    with pytest.raises(RuntimeError, match="third -> first -> second -> third"):
        third()


def test_a_circle_across_threads_is_told_too() -> None:
    """Two threads that create each other's needs do not wait for each other for ever."""
    both = threading.Barrier(2, timeout=30)
    calls: Counter[str] = Counter()

    def needs(name: str, other: PerProcess[Any]) -> Any:
        calls[name] += 1
        if calls[name] == 1:
            both.wait()
        return other()

    left: PerProcess[Any] = PerProcess(lambda: needs("left", right), name="left")
    right: PerProcess[Any] = PerProcess(lambda: needs("right", left), name="right")
    errors: list[str] = []

    def use(accessor: PerProcess[Any]) -> None:
        try:
            accessor()
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=use, args=(item,)) for item in (left, right)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [False, False] == [thread.is_alive() for thread in threads]
    assert 2 == len([text for text in errors if "is needed for its own creation" in text])


# --- threads --------------------------------------------------------------------------------------


def test_threads_share_one_creation() -> None:
    """However many come at once, the factory runs once and all get its object."""
    count = 16
    made: list[Client] = []
    go_on = threading.Event()

    def factory() -> Client:
        assert go_on.wait(30)
        made.append(Client())
        return made[-1]

    accounts = per_process(factory)
    arrived = threading.Semaphore(0)

    def use(_: int) -> Client:
        arrived.release()
        return accounts()

    with ThreadPoolExecutor(count) as pool:
        results = [pool.submit(use, number) for number in range(count)]
        for _ in range(count):
            assert arrived.acquire(timeout=30)
        go_on.set()
        got = {result.result(30) for result in results}

    assert {made[0]} == got
    assert 1 == len(made)


def test_threads_that_wait_share_a_failure() -> None:
    """They do not try one after the other what has just failed."""
    calls: list[int] = []
    in_factory, go_on = threading.Event(), threading.Event()

    def factory() -> Client:
        calls.append(1)
        in_factory.set()
        assert go_on.wait(30)
        raise ConnectionError("no")

    accounts = per_process(factory)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(accounts)
        assert in_factory.wait(30)
        second = pool.submit(accounts)
        creation = accounts._creation
        assert creation is not None
        eventually(lambda: creation.outcome._condition._waiters, about="a second thread that waits")
        go_on.set()

        assert isinstance(first.exception(30), ConnectionError)
        assert first.exception() is second.exception(30)
    assert [1] == calls


def test_an_interrupted_creation_is_taken_over_by_who_waits() -> None:
    """Ctrl-C in one thread is not an error of the others."""
    in_factory, go_on = threading.Event(), threading.Event()
    outcomes: list[Any] = [KeyboardInterrupt(), Client()]

    def factory() -> Client:
        in_factory.set()
        assert go_on.wait(30)
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    accounts = per_process(factory)
    first_end: list[BaseException] = []

    def interrupted() -> None:
        try:
            accounts()
        except KeyboardInterrupt as error:
            first_end.append(error)

    thread = threading.Thread(target=interrupted)
    thread.start()
    assert in_factory.wait(30)
    creation = accounts._creation
    assert creation is not None
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(accounts)
        eventually(lambda: creation.outcome._condition._waiters, about="a second thread that waits")
        go_on.set()
        thread.join(30)

        assert isinstance(second.result(30), Client)
    assert 1 == len(first_end)


# --- seen from outside ----------------------------------------------------------------------------


def test_creating_names_the_factory_that_runs_here() -> None:
    """Innermost first; in another thread nothing is created; afterwards nothing is."""
    seen: list[str | None] = []
    inner = PerProcess(lambda: seen.append(creating()), name="inner")

    def factory() -> None:
        seen.append(creating())
        inner()
        seen.append(creating())
        thread = threading.Thread(target=lambda: seen.append(creating()))
        thread.start()
        thread.join()

    PerProcess(factory, name="outer")()

    assert ["outer", "inner", "outer", None] == seen
    assert creating() is None


def test_creating_is_over_when_the_factory_has_failed() -> None:
    """What runs later is no part of it."""

    def factory() -> None:
        raise ConnectionError("no")

    with contextlib.suppress(ConnectionError):
        per_process(factory)()

    assert creating() is None


# --- for tests ------------------------------------------------------------------------------------


def test_an_override_stands_in_until_its_end() -> None:
    """Tests put a fake in the place of a resource, nested if need be; nothing is created for it."""
    made: list[Client] = []

    def factory() -> Client:
        made.append(Client())
        return made[-1]

    accounts = per_process(factory)

    with accounts.override("outer"):
        assert "outer" == accounts()
        with accounts.override(None):
            assert accounts() is None
        assert "outer" == accounts()
    assert [] == made
    assert accounts() is made[0]
    with accounts.override("again"):
        assert "again" == accounts()
    assert accounts() is made[0]
