"""The health of resources: whatever a check does, it becomes a word for the status."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.process.messages import MAX_MESSAGE_BYTES, Resources, encode
from tornado_multi.resources import lives
from tornado_multi.resources.health import MOST_RESOURCES, MOST_TEXT_BYTES, ask, report
from tornado_multi.resources.lives import Health
from tornado_multi.resources.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 0.2


def no_limit(_seconds: float) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def health_of(check: Callable[[Any], Any], timeout_s: float = TIMEOUT_S) -> Health:
    PerProcess(object, health=check)()
    return asyncio.run(ask(lives.current.created[-1], timeout_s, no_limit))


async def answers(_: object) -> str:
    return "PONG"


async def answers_no(_: object) -> bool:
    return False


async def raises(_: object) -> None:
    raise ConnectionError("no answer")


async def hangs(_: object) -> None:
    await asyncio.Event().wait()


async def swallows(_: object) -> None:
    over = asyncio.Event()
    with contextlib.suppress(asyncio.CancelledError):
        await over.wait()
    await over.wait()


async def is_cancelled(_: object) -> None:
    raise asyncio.CancelledError


class Unprintable:
    """An answer that nobody can show."""

    def __str__(self) -> str:
        raise ConnectionError("no text")


def raises_at_once(_: object) -> None:
    raise ConnectionError("no\nanswer")


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (lambda _: None, Health(is_good=True, text="ok")),
        (lambda _: True, Health(is_good=True, text="ok")),
        (lambda _: "3 of 10 in use", Health(is_good=True, text="3 of 10 in use")),
        (lambda _: 0, Health(is_good=True, text="0")),
        (lambda _: False, Health(is_good=False, text="False")),
        (answers, Health(is_good=True, text="PONG")),
        (answers_no, Health(is_good=False, text="False")),
        (raises, Health(is_good=False, text="ConnectionError: no answer")),
        (raises_at_once, Health(is_good=False, text="ConnectionError: no")),
        (hangs, Health(is_good=False, text="did not answer within 0.2 s")),
        (swallows, Health(is_good=False, text="did not answer within 0.2 s")),
        (is_cancelled, Health(is_good=False, text="was cancelled")),
        (lambda _: Unprintable(), Health(is_good=False, text="ConnectionError: no text")),
    ],
)
def test_an_answer_becomes_a_word(check: Callable[[Any], Any], expected: Health) -> None:
    """Good is whatever neither raises nor is False; one that hangs is left behind."""
    assert expected == health_of(check)


def test_the_check_gets_the_object() -> None:
    """The real one, whether it is guarded or not."""
    seen: list[object] = []
    accessor = PerProcess(dict, health=seen.append, guard=True)
    accessor()
    asyncio.run(ask(lives.current.created[-1], TIMEOUT_S, no_limit))

    assert [dict] == [type(item) for item in seen]


@pytest.mark.parametrize(
    "character", ["x", '"', "\\", "é", "\U0001f600", "\0", "\ud800"], ids=ascii
)
def test_the_report_fits_into_one_message(character: str) -> None:
    """However many there are and whatever they say."""
    for _ in range(MOST_RESOURCES + 10):
        created = PerProcess(object, name=f"{character}x" * 1000)
        created()
    for item in lives.current.created:
        item.health = Health(is_good=True, text="ok")
    seen = report()

    assert MOST_RESOURCES == len(seen)
    assert len(seen[0]["name"].encode()) <= MOST_TEXT_BYTES
    assert {"name", "created_unix_s", "healthy", "health"} == set(seen[0])
    for item in seen:
        item["health"] = item["name"]
    assert len(encode(Resources(tuple(seen)))) <= MAX_MESSAGE_BYTES
