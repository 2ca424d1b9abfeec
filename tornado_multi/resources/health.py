"""Whether resources are well: asks their ``health`` and tells the outcome as plain data.

Runs in: any process, on the loop.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from tornado_multi.process.tracebacks import first_line
from tornado_multi.resources import lives
from tornado_multi.resources.lives import Health

if TYPE_CHECKING:
    from tornado_multi.resources.closing import Limit
    from tornado_multi.resources.lives import Created

MOST_TEXT_BYTES = 200
"""Of a name or an outcome: what many resources say must fit into one message."""
MOST_RESOURCES = 64


async def ask(created: Created, timeout_s: float, limit: Limit) -> Health:
    """Ask one resource that has a check. Good is whatever neither raises nor is False.

    Args: limit: as for ``close_all``: what ends a sync check.
    """
    assert created.check is not None
    try:
        with limit(timeout_s):
            result = created.check()
        if inspect.isawaitable(result):
            # A task, and no wait for its end: a check may swallow its cancellation.
            task = asyncio.ensure_future(result)
            task.add_done_callback(_take_error)
            try:
                await asyncio.wait({task}, timeout=timeout_s)
            finally:
                if not task.done():
                    task.cancel()
            if not task.done():
                raise TimeoutError
            if task.cancelled():  # by the check itself: this task goes on
                return Health(is_good=False, text="was cancelled")
            result = task.result()
        text = "ok" if result is None or result is True else one_line(str(result))
    except TimeoutError:
        return Health(is_good=False, text=f"did not answer within {timeout_s:g} s")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - all that a check may raise
        return Health(is_good=False, text=one_line(first_line(error)))
    return Health(is_good=result is not False, text=text)


def report() -> list[dict[str, Any]]:
    """Return what there is in this process, in order of creation, as ``status`` shows it."""
    return [
        {
            "name": one_line(created.name),
            "created_unix_s": round(created.created_unix_s, 3),
            "healthy": None if created.health is None else created.health.is_good,
            "health": None if created.health is None else created.health.text,
        }
        for created in lives.current.created[:MOST_RESOURCES]
    ]


def one_line(text: str) -> str:
    """Return *text* short and printable."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    raw = " ".join(words).encode()
    if len(raw) <= MOST_TEXT_BYTES:
        return raw.decode()
    return raw[: MOST_TEXT_BYTES - 3].decode(errors="ignore") + "..."


def _take_error(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
