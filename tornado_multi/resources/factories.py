"""What is asked of a factory, and of the object that it made. Pure."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def is_async(factory: object) -> bool:
    """Tell whether a factory returns a coroutine."""
    return inspect.iscoroutinefunction(factory) or inspect.iscoroutinefunction(
        getattr(factory, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def refuse_unfit(factory: object) -> None:
    """Look at what is to be a factory.

    Raises: TypeError: it is no function, needs arguments, or yields.
    """
    if not callable(factory):
        text = f"A factory is a function without arguments; this is {factory!r}."
        raise TypeError(text)
    if inspect.isgeneratorfunction(factory) or inspect.isasyncgenfunction(factory):
        text = f"The factory {name_of(factory)} yields. Return the object, and pass close=."
        raise TypeError(text)
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        ]
    except ValueError:  # made in C, without a signature
        return
    if needed:
        text = f"The factory {name_of(factory)} must not need arguments; it needs {needed[0]!r}."
        raise TypeError(text)


def name_of(factory: object) -> str:
    """Return ``module.name`` of a factory, or of its class."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    kind = factory if hasattr(factory, "__qualname__") else type(factory)
    return f"{kind.__module__}.{kind.__qualname__}"


def closer(made: Any, close: Callable[[Any], object] | None) -> Callable[[], object] | None:
    """Return what closes an object: *close*, or else its own ``aclose`` or ``close``, if any."""
    if close is not None:
        return functools.partial(close, made)
    if inspect.isclass(made) or inspect.ismodule(made):
        return None  # what it has of such names is for others
    for name in ("aclose", "close"):
        try:
            method = getattr(made, name, None)
        except Exception:  # noqa: BLE001, S112 - a proxy that has nothing to stand for yet
            continue
        if callable(method):
            return method  # type: ignore[no-any-return]  # callable says no more
    return None
