"""The end of resources: in reverse order of their creation, each failure told, none in the way.

Runs in: any process; ``close_all`` on the loop that the resources were used on.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

from tornado_multi.resources import lives

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado_multi.resources.lives import Created

    Limit = Callable[[float], contextlib.AbstractContextManager[object]]

log = logging.getLogger(__name__)
CLOSE_TIMEOUT_S = 5.0
"""For all resources of a process together."""
LEAST_S = 0.1
"""Each gets at least this, also behind one that has used up the time of all."""


async def close_resources(timeout_s: float = CLOSE_TIMEOUT_S) -> None:
    """Close what this process has created, last created first; a later use creates anew.

    For programs and tests without a supervisor; a worker does it at the end of its drain. What
    raises or does not end in time is logged, and the rest is closed all the same. A sync closer
    that blocks is waited for, however long it takes.
    Args: timeout_s: for all of them together.
    Runs in: any process, on the loop that used them.
    """
    await close_all(timeout_s, _no_limit)


async def close_all(timeout_s: float, limit: Limit) -> None:
    """Close everything.

    Args: limit: seconds -> a block in which TimeoutError is raised when they have passed; for sync
        closers, which nothing else could end.
    """
    life, loop = lives.current, asyncio.get_running_loop()
    # What the others need at least is kept back from one that hangs.
    reserve_s = min(LEAST_S * len(life.created), timeout_s / 2)
    deadline_s = loop.time() + timeout_s - reserve_s
    for _ in range(2):  # once more for what closers have created; not for ever
        for _ in range(len(life.created)):
            created = life.take_last()
            if created is not None:
                await _close(created, max(LEAST_S, deadline_s - loop.time()), limit)


async def _close(created: Created, left_s: float, limit: Limit) -> None:
    loop = asyncio.get_running_loop()
    if created.close is None:
        return
    if created.loop is not None and created.loop is not loop:
        awaitable = _on_its_own_loop(created)
    else:
        try:
            with limit(left_s):
                result = created.close()
        except TimeoutError:
            _log_timeout(created, left_s)
            return
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - all that a closer may raise
            _log_failure(created, error)
            return
        if not inspect.isawaitable(result):
            return
        awaitable = _settled(result)
    task = loop.create_task(awaitable, name=f"tornado_multi close {created.name}")
    try:
        await asyncio.wait({task}, timeout=left_s)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        _log_timeout(created, left_s)
    elif (problem := task.result()) is not None:
        _log_failure(created, problem)


async def _settled(awaitable: Awaitable[object]) -> BaseException | None:
    """Await; return what was raised, so that no task ends with an error that nobody takes."""
    try:
        await awaitable
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return error
    return None


async def _on_its_own_loop(created: Created) -> BaseException | None:
    """Have a resource of another thread's loop closed there."""
    assert created.loop is not None

    async def close() -> None:
        assert created.close is not None
        result = created.close()
        if inspect.isawaitable(result):
            await result

    if created.loop.is_closed():
        return RuntimeError("its event loop is closed")
    future: Any = asyncio.run_coroutine_threadsafe(close(), created.loop)
    return await _settled(asyncio.wrap_future(future))


def _log_timeout(created: Created, left_s: float) -> None:
    log.error(
        "The resource %s (created at %s) did not close within %.1f s; its end is not waited for.",
        created.name, created.site, left_s,
    )  # fmt: skip


def _log_failure(created: Created, error: BaseException) -> None:
    log.error(
        "The resource %s (created at %s) could not be closed: %s: %s",
        created.name, created.site, type(error).__name__, error, exc_info=error,
    )  # fmt: skip


def _no_limit(_seconds: float) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext()


# --- at exit --------------------------------------------------------------------------------------


def register_at_exit() -> None:
    """Have what is left closed at the end of this process."""
    atexit.register(close_at_exit)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # Processes that it forks end without exit handlers (seen with Python 3.11), but with these.
        util.Finalize(None, close_at_exit, exitpriority=-1)


def close_at_exit() -> None:
    """Close what is left when the interpreter ends, as far as that goes without a loop.

    Registered by the process that creates the first resource; a forked child registers its own.
    """
    life = lives.current
    unclosed: list[Created] = []
    for _ in range(len(life.created)):
        created = life.take_last()
        if created is None or created.close is None:
            continue
        result: Any = None
        try:
            result = None if created.loop is not None else created.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - all that a closer may raise
            _log_failure(created, error)
        if created.loop is not None or inspect.isawaitable(result):
            with contextlib.suppress(Exception):
                getattr(result, "close", lambda: None)()  # without Python's "never awaited"
            unclosed.append(created)
    for created in unclosed:  # at last, because a warning may be an error
        text = (
            f"The resource {created.name} (created at {created.site}) was not closed: that takes "
            "an event loop. Await tornado_multi.close_resources() before the loop ends."
        )
        warnings.warn(text, ResourceWarning, stacklevel=1)
