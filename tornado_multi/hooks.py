"""The user's hooks: found once per generation, called with a time limit, never trusted.

A hook that raises or hangs is a reported failure of that one call. Hanging calls are interrupted by
SIGALRM, which ends sleeps, waits and Python code; code that holds the interpreter in C is not
reached, and only the supervisor's deadlines end it. An async hook is cancelled, and each of its
steps has the time limit of a call, so that one that blocks the loop is interrupted too.
Runs in: zygote, worker, and the short-lived processes of ``on_worker_exit`` and ``on_reload``; always
on the main thread.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tornado_multi.loading import LoadError
from tornado_multi.process import time_limits
from tornado_multi.process.messages import HookFailed
from tornado_multi.process.time_limits import TimeLimitError, time_limit
from tornado_multi.process.tracebacks import app_traceback, first_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from tornado_multi.settings.model import HookSettings

NAMES = (
    "on_starting",
    "before_fork",
    "after_fork",
    "on_ready",
    "on_drain",
    "on_worker_exit",
    "on_reload",
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one generation."""

    functions: dict[str, Callable[..., Any]]
    timeout_s: float
    limit: str = "hook_timeout_s"
    """What sets *timeout_s*, as users read it."""

    def within(self, at_most_s: float, limit: str) -> Hooks:
        """Return the same hooks with no more time than *at_most_s*, which *limit* sets."""
        return (
            self if at_most_s >= self.timeout_s else replace(self, timeout_s=at_most_s, limit=limit)
        )

    def names(self) -> tuple[str, ...]:
        return tuple(self.functions)

    def call(self, name: str, *arguments: object) -> HookFailed | None:
        """Call a hook, if there is one, and return how it failed, if it did. Blocks."""
        function = self.functions.get(name)
        if function is None:
            return None
        threads = set(threading.enumerate())
        try:
            with time_limit(self.timeout_s):
                result = function(*arguments)
                if inspect.isawaitable(result):
                    _drop(result)
                    return HookFailed(name, f"{name} is async; only on_ready and on_drain may be.")
        except BaseException as error:  # noqa: BLE001 - all that a user's function may raise
            return self._failure(name, error)
        left = [thread.name for thread in threading.enumerate() if thread not in threads]
        if left and name in {"on_starting", "before_fork"}:
            text = f"{name} left the thread {left[0]!r} running; it does not exist in the workers."
            return HookFailed(name, text)
        return None

    async def call_on_loop(self, name: str) -> HookFailed | None:
        """Call a hook that may be async, on the running loop."""
        function = self.functions.get(name)
        if function is None:
            return None
        try:
            with time_limit(self.timeout_s):
                result = function()
        except BaseException as error:  # noqa: BLE001 - as above
            return self._failure(name, error)
        return await self._finish(name, result) if inspect.isawaitable(result) else None

    async def _finish(self, name: str, awaitable: Awaitable[object]) -> HookFailed | None:
        """Await the rest of an async hook, in a task of its own: it may swallow its cancellation."""
        task = asyncio.get_running_loop().create_task(self._watch(name, awaitable))
        try:
            await asyncio.wait({task}, timeout=self.timeout_s + time_limits.INTERRUPT_AGAIN_S)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            text = f"{self._timeout_text(name)} It ignores its cancellation and runs on."
            return HookFailed(name, text)
        return task.result()

    async def _watch(self, name: str, awaitable: Awaitable[object]) -> HookFailed | None:
        limit = asyncio.timeout(self.timeout_s)
        try:
            async with limit:
                await _step_by_step(awaitable, self.timeout_s)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # this call itself is cancelled
            return self._failure(name, error)
        except TimeoutError as error:
            if limit.expired():  # what it was cancelled in says where it hung
                late = TimeLimitError().with_traceback((error.__cause__ or error).__traceback__)
                return self._failure(name, late)
            return self._failure(name, error)
        except BaseException as error:  # noqa: BLE001 - as above
            return self._failure(name, error)
        return None

    def _failure(self, name: str, error: BaseException) -> HookFailed:
        if isinstance(error, TimeLimitError):
            return HookFailed(name, self._timeout_text(name), app_traceback(error))
        return HookFailed(name, f"{name} failed: {first_line(error)}", app_traceback(error))

    def _timeout_text(self, name: str) -> str:
        return f"{name} did not return within {self.timeout_s:g} s ({self.limit})."


def find_hooks(settings: HookSettings, module: object | None) -> Hooks:
    """Find the hooks: those that the settings name, else by name in the app's module.

    Args: module: the app's module, or None where it is not imported (``--boot lazy``).
    Raises: LoadError: the settings name a function that isn't there, or whose import fails.
    """
    functions: dict[str, Callable[..., Any]] = {}
    for name in NAMES:
        named = getattr(settings, name)
        if named is not None:
            functions[name] = _import_function(name, named)
        elif callable(found := getattr(module, name, None)):
            functions[name] = found
    return Hooks(functions, settings.hook_timeout_s)


def _import_function(name: str, named: str) -> Callable[..., Any]:
    module_name, _, attribute = named.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except BaseException as error:
        text = f"The hook {name}={named} failed while importing {module_name}: {first_line(error)}"
        raise LoadError(text, app_traceback(error)) from error
    if not callable(found):
        text = f"The hook {name}={named} is no function: {module_name} has none of that name."
        raise LoadError(text, usage=True)
    return found  # type: ignore[no-any-return]  # callable says no more


@types.coroutine
def _step_by_step(
    awaitable: Awaitable[object], timeout_s: float
) -> Generator[object, object, object]:
    """Await, with a time limit on each step: one that blocks the loop is interrupted."""
    coroutine = _as_coroutine(awaitable)
    step: Callable[..., object] = coroutine.send
    argument: object = None
    while True:
        try:
            with time_limit(timeout_s):
                waits_for = step(argument)
        except StopIteration as end:
            return end.value
        try:
            argument = yield waits_for
            step = coroutine.send
        except BaseException as error:  # noqa: BLE001 - a cancellation, on its way to the hook
            step, argument = coroutine.throw, error


async def _as_coroutine(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _drop(awaitable: object) -> None:
    """Close a coroutine that nobody will await, without Python's warning."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
