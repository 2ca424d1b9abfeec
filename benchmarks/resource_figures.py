"""Figures of per-process resources: what asking for one costs when it is there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from tornado_multi import per_process

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 21
CALLS = 100_000
SYNC_BAR_NS = 150
ASYNC_BAR_NS = 400
LOOP = "the loop around it included"


@per_process
def accounts() -> object:
    return object()


@per_process
async def accounts_async() -> object:
    return object()


def plain() -> object:
    return RUNS


async def plain_async() -> object:
    return RUNS


def accessors() -> list[Figure]:
    """Calls of an accessor whose object exists, in turn with those of empty functions.

    CPU time of this process: what others do on the machine is not counted.
    """
    accounts()
    spans = [(_span_ns(accounts), _span_ns(plain)) for _ in range(RUNS)]
    return [
        _figure("per_process accessor, sync", [one for one, _ in spans], SYNC_BAR_NS),
        _figure("a function that returns a constant", [one for _, one in spans]),
        *asyncio.run(_async_accessors()),
    ]


async def _async_accessors() -> list[Figure]:
    await accounts_async()
    spans = [
        (await _span_async_ns(accounts_async), await _span_async_ns(plain_async))
        for _ in range(RUNS)
    ]
    return [
        _figure("per_process accessor, async", [one for one, _ in spans], ASYNC_BAR_NS),
        _figure("an async function that returns a constant", [one for _, one in spans]),
    ]


def _span_ns(call: Callable[[], object]) -> float:
    begun_ns = time.process_time_ns()
    for _ in range(CALLS):
        call()
    return (time.process_time_ns() - begun_ns) / CALLS


async def _span_async_ns(call: Callable[[], object]) -> float:
    begun_ns = time.process_time_ns()
    for _ in range(CALLS):
        await call()  # type: ignore[misc]  # an accessor or a coroutine function
    return (time.process_time_ns() - begun_ns) / CALLS


def _figure(name: str, spans_ns: list[float], bar: float | None = None) -> Figure:
    return Figure(name, "ns", tuple(spans_ns), bar, LOOP)
