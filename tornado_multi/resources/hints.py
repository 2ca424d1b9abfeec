"""The hint for an ``await`` that was forgotten: ``stock().count()`` in place of ``await stock()``.

The accessor of an async resource returns a coroutine of Python itself. An awaitable of our own that
explains itself was tried: it costs 250 ns more of each call, and no longer is a coroutine for
``inspect``. So the error is explained when it is logged, which costs calls that go well nothing.
Runs in: worker.
"""

from __future__ import annotations

import sys
from types import CoroutineType


def explain_forgotten_await(error: BaseException) -> None:
    """Add a note to *error* if an attribute was asked of an accessor's coroutine."""
    resources = sys.modules.get("tornado_multi.resources.per_process")  # None: the app has none
    if resources is None or not isinstance(error, AttributeError):
        return
    asked = error.obj
    name = resources.name_of_coroutine(asked) if isinstance(asked, CoroutineType) else None
    if name is None:
        return
    short = name.rpartition(".")[2]
    text = (
        f"tornado_multi: The resource {name} is async, and its accessor was not awaited. Write "
        f"(await {short}()).{error.name}, or client = await {short}() first."
    )
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)
