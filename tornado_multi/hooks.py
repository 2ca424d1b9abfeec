"""The user's hooks: found once per generation, called with a time limit, never trusted.

A hook that raises or hangs is a reported failure of that one call. Hanging calls are interrupted by
SIGALRM, which ends sleeps, waits and Python code; code that holds the interpreter in C is not
reached, and only the supervisor's deadlines end it.
Runs in: zygote, worker, and the short-lived processes of ``on_worker_exit`` and ``on_reload``; always
on the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado_multi.loading import LoadError
from tornado_multi.process.messages import HookFailed
from tornado_multi.process.tracebacks import app_traceback, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

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
INTERRUPT_AGAIN_S = 1.0
"""A hook that swallows the interruption gets it again, this often."""


class HookTimeoutError(BaseException):
    """Thrown into a hook that takes too long. No Exception: a hook's own handlers don't want it."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one generation."""

    functions: dict[str, Callable[..., Any]]
    timeout_s: float

    def names(self) -> tuple[str, ...]:
        return tuple(self.functions)

    def call(self, name: str, *arguments: object) -> HookFailed | None:
        """Call a hook, if there is one, and return how it failed, if it did. Blocks."""
        function = self.functions.get(name)
        if function is None:
            return None
        threads = set(threading.enumerate())
        try:
            with _time_limit(self.timeout_s):
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
            with _time_limit(self.timeout_s):
                result = function()
            if inspect.isawaitable(result):
                async with asyncio.timeout(self.timeout_s) as limit:
                    await result
        except TimeoutError as error:
            return self._failure(name, HookTimeoutError() if limit.expired() else error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # this call itself is cancelled
            return HookFailed(name, f"{name} was cancelled by itself.")
        except BaseException as error:  # noqa: BLE001 - as above
            return self._failure(name, error)
        return None

    def _failure(self, name: str, error: BaseException) -> HookFailed:
        if isinstance(error, HookTimeoutError):
            text = f"{name} did not return within {self.timeout_s:g} s (hook_timeout_s)."
            detail = app_traceback(error) if error.__traceback__ is not None else ""
            return HookFailed(name, text, detail)
        return HookFailed(name, f"{name} failed: {first_line(error)}", app_traceback(error))


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


@contextlib.contextmanager
def _time_limit(timeout_s: float) -> Iterator[None]:
    """Throw HookTimeoutError into the block when it takes longer."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise HookTimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, timeout_s, INTERRUPT_AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left_s, interval_s)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _drop(awaitable: object) -> None:
    """Close a coroutine that nobody will await, without Python's warning."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
