"""The hint for an await that was forgotten."""

from __future__ import annotations

import asyncio
import warnings

import pytest

import tornado_multi
from tornado_multi.resources.hints import explain_forgotten_await


@tornado_multi.per_process
async def stock() -> list[int]:
    """A resource of this module."""
    return [3]


async def other() -> None:
    """A coroutine that has nothing to do with resources."""


def notes_of(make: object) -> list[str]:
    """Return the notes of the error that asking a coroutine for ``count`` gets."""
    coroutine = make()  # type: ignore[operator]  # an accessor, or an async function
    with pytest.raises(AttributeError) as caught:
        coroutine.count(3)
    explain_forgotten_await(caught.value)
    explain_forgotten_await(caught.value)
    coroutine.close()
    return list(getattr(caught.value, "__notes__", ()))


def test_an_attribute_of_an_accessor_that_was_not_awaited() -> None:
    """The note names the resource and writes the line as it should be, once."""
    notes = notes_of(stock)

    assert 1 == len(notes)
    assert f"The resource {stock.name} is async" in notes[0]
    assert "(await stock()).count" in notes[0]


def test_other_coroutines_and_other_errors_are_left_alone() -> None:
    """Only what an accessor has returned is ours to explain."""
    assert [] == notes_of(other)

    error = AttributeError("no such thing")
    explain_forgotten_await(error)
    explain_forgotten_await(ValueError())

    assert not hasattr(error, "__notes__")


def test_what_the_accessor_returns_is_a_coroutine_of_python() -> None:
    """Asyncio and Tornado ask for that, and a task can be made of it."""
    coroutine = stock()

    assert asyncio.iscoroutine(coroutine)
    assert [3] == asyncio.run(coroutine)


def test_the_warning_of_python_says_what_was_not_awaited() -> None:
    """The coroutine is called after what it is."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        stock()

    assert ["coroutine 'the accessor of an async per_process resource' was never awaited"] == [
        str(item.message) for item in seen
    ]
