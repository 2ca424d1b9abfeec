"""What ``module:attr`` may be, and how it becomes something that answers requests.

Runs in: worker, on its loop (only the import happens in the zygote).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httputil import HTTPServerConnectionDelegate, HTTPServerRequest

RequestCallback = Callable[[HTTPServerRequest], Any]
Answerer = HTTPServerConnectionDelegate | RequestCallback
WANTED = (
    "a tornado.web.Application, an HTTPServerConnectionDelegate, a callback that takes one "
    "request, or a factory (sync or async, without required arguments) that returns one of these"
)


class AppError(Exception):
    """The target or what its factory returned can't answer requests; a full sentence."""


async def build(
    target: object,
    name: str,
    limit: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Answerer:
    """Return what answers requests: the target itself, or what it makes when called.

    Args: name: ``module:attr``, for error texts. limit: round the call of a factory.
    Raises: AppError: it is none of the kinds. Whatever the factory raises.
    """
    if isinstance(target, HTTPServerConnectionDelegate):
        return target
    if not callable(target):
        text = f"{name} is {_describe(target)}; it must be {WANTED}."
        raise AppError(text)
    if not _takes_no_arguments(target):
        return _as_callback(target, name)
    with limit():
        made = target()
    if isinstance(made, Awaitable):
        made = await made
    if isinstance(made, HTTPServerConnectionDelegate):
        return made
    if callable(made) and not _takes_no_arguments(made):
        return _as_callback(made, f"what {name} returned")
    text = f"The factory {name} returned {_describe(made)}; it must return an application."
    raise AppError(text)


def _takes_no_arguments(function: Callable[..., object]) -> bool:
    """Tell whether it can be called with nothing: that makes a factory."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have none
        return True
    try:
        signature.bind()
    except TypeError:
        return False
    return True


def _as_callback(function: Callable[..., Any], name: str) -> RequestCallback:
    if isinstance(function, type) and issubclass(function, HTTPServerConnectionDelegate):
        text = f"{name} can't be made without arguments; name a factory that gives them."
        raise AppError(text)
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        text = f"{name} takes more than one argument ({error}); it must be {WANTED}."
        raise AppError(text) from error

    callback: RequestCallback = function

    @functools.wraps(callback, updated=())
    def call(request: HTTPServerRequest) -> Any:
        result = callback(request)
        if isinstance(result, HTTPServerConnectionDelegate):
            text = (
                f"{name} takes one argument, so it was called with a request; but it returned an "
                "application. A factory takes no required argument."
            )
            raise AppError(text)
        return result

    return call


def _describe(thing: object) -> str:
    if thing is None:
        return "None"
    return f"a {type(thing).__module__}.{type(thing).__qualname__}"
