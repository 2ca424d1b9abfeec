"""What ``module:attr`` may be, and how it becomes something that answers requests."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

import pytest
from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from tornado.routing import RuleRouter
from tornado.web import Application

from tornado_multi.worker.app import AppError, build

APPLICATION = Application()


class Delegate(HTTPServerConnectionDelegate):
    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        raise NotImplementedError


DELEGATE = Delegate()


def answer(request: HTTPServerRequest) -> None:
    """A callback that answers one request."""


class Answering:
    """An object that answers requests."""

    def __call__(self, request: HTTPServerRequest) -> None: ...

    def answer(self, request: HTTPServerRequest) -> None: ...


ANSWERING = Answering()


def factory() -> Application:
    return APPLICATION


async def async_factory() -> Application:
    return APPLICATION


def factory_of_a_callback() -> Any:
    return answer


def factory_of_a_future() -> Any:
    async def make() -> Application:
        return APPLICATION

    return asyncio.ensure_future(make())


def factory_with_defaults(port: int = 1, *, debug: bool = False) -> Application:
    return APPLICATION


class Factory:
    """An object that makes an application."""

    def __call__(self) -> Application:
        return APPLICATION

    def make(self) -> Application:
        return APPLICATION


def wrapped(answerer: Any) -> Any:
    """Return what stands behind the guard that each callback is given."""
    return getattr(answerer, "__wrapped__", answerer)


def built(target: object) -> Any:
    async def main() -> Any:
        return await build(target, "shop:app")

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (APPLICATION, APPLICATION),
        (DELEGATE, DELEGATE),
        (answer, answer),
        (ANSWERING, ANSWERING),
        (factory, APPLICATION),
        (async_factory, APPLICATION),
        (factory_of_a_callback, answer),
        (factory_of_a_future, APPLICATION),
        (factory_with_defaults, APPLICATION),
        (functools.partial(factory_with_defaults, 2, debug=True), APPLICATION),
        (Factory(), APPLICATION),
        (Factory().make, APPLICATION),
        (lambda: APPLICATION, APPLICATION),
        (lambda: DELEGATE, DELEGATE),
    ],
    ids=[
        "application",
        "delegate",
        "callback",
        "callable object",
        "factory",
        "async factory",
        "factory of a callback",
        "factory of a future",
        "factory with defaults",
        "partial",
        "factory object",
        "method",
        "lambda",
        "lambda of a delegate",
    ],
)
def test_each_kind_of_target(target: object, expected: object) -> None:
    """An application, a delegate, a callback, or a factory of one of these, sync or async."""
    assert expected == wrapped(built(target))


@pytest.mark.parametrize("kind", [Application, RuleRouter, Delegate])
def test_a_class_is_a_factory(kind: type) -> None:
    """Its instance serves, if it can be made without arguments."""
    if kind is RuleRouter:
        kind = functools.partial(RuleRouter, [])  # type: ignore[assignment]

    assert isinstance(built(kind), HTTPServerConnectionDelegate)


def test_a_bound_method_is_a_callback() -> None:
    """Methods are taken for what they still need."""
    method = ANSWERING.answer

    assert method == wrapped(built(method))


def test_a_factory_is_called_once_on_the_running_loop() -> None:
    """Clients that it makes belong to the loop that serves."""
    loops = []

    def make() -> Application:
        loops.append(asyncio.get_running_loop())
        return APPLICATION

    built(make)

    assert 1 == len(loops)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "shop:app is None; it must be a tornado.web.Application"),
        (3, "shop:app is a builtins.int; it must be"),
        ("text", "shop:app is a builtins.str; it must be"),
        (asyncio, "shop:app is a builtins.module; it must be"),
        (lambda: None, "The factory shop:app returned None; it must return an application."),
        (lambda: 3, "The factory shop:app returned a builtins.int; it must return an appl"),
        (lambda: factory, "The factory shop:app returned a builtins.function; it must return"),
        (dict, "The factory shop:app returned a builtins.dict; it must return"),
        (lambda _one, _two: None, "shop:app takes more than one argument"),
        (lambda *, debug: debug, "shop:app takes more than one argument"),
        (lambda: lambda _one, _two: None, "what shop:app returned takes more than one argument"),
    ],
    ids=[
        "None",
        "number",
        "text",
        "module",
        "factory of None",
        "factory of a number",
        "factory of a factory",
        "class",
        "two arguments",
        "keyword argument",
        "factory of two arguments",
    ],
)
def test_what_can_not_answer_is_refused(target: object, said: str) -> None:
    """The sentence names the target, what it is and what it must be."""
    with pytest.raises(AppError, match=re.escape(said)):
        built(target)


def test_what_a_factory_raises_is_its_own() -> None:
    """The traceback is the app's, for its author."""

    async def make() -> Application:
        raise KeyError("DATABASE_URL")

    with pytest.raises(KeyError, match="DATABASE_URL"):
        built(make)
