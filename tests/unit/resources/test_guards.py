"""What refuses to be used in a process that was forked from its creator's."""

from __future__ import annotations

import asyncio
import io
import os
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.resources import lives
from tornado_multi.resources.guards import ForkedResourceError, OwnedByProcess, guarded
from tornado_multi.resources.per_process import per_process

if TYPE_CHECKING:
    from collections.abc import Callable


def fork_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin another life, as the child of a fork does."""
    monkeypatch.setattr(lives, "current", lives.Life(lives.current.epoch + 1))


class Client:
    """Has a bit of everything."""

    def __init__(self) -> None:
        self.host = "db"

    def get(self) -> str:
        return "got"

    def __len__(self) -> int:
        return 3

    def __bool__(self) -> bool:
        return False

    def __getitem__(self, key: int) -> int:
        return key * 2

    def __iter__(self) -> Any:
        return iter("abc")

    def __contains__(self, item: object) -> bool:
        return item == 1

    def __call__(self, word: str) -> str:
        return f"called {word}"

    def __enter__(self) -> str:
        return "entered"

    def __exit__(self, *_: object) -> None:
        self.host = "left"

    async def __aenter__(self) -> str:
        return "entered"

    async def __aexit__(self, *_: object) -> None:
        pass

    def __await__(self) -> Any:
        return asyncio.sleep(0, "awaited").__await__()


async def enter_async(client: Any) -> str:
    async with client as entered:
        return str(entered)


async def await_it(client: Any) -> str:
    return str(await client)


def enter(client: Any) -> str:
    with client as entered:
        return str(entered)


USES: dict[str, tuple[Callable[[Any], object], object]] = {
    "attribute": (lambda client: client.host, "db"),
    "method": (lambda client: client.get(), "got"),
    "length": (len, 3),
    "truth": (bool, False),
    "item": (lambda client: client[2], 4),
    "iteration": (list, ["a", "b", "c"]),
    "membership": (lambda client: 1 in client, True),
    "call": (lambda client: client("it"), "called it"),
    "with": (enter, "entered"),
    "async with": (lambda client: asyncio.run(enter_async(client)), "entered"),
    "await": (lambda client: asyncio.run(await_it(client)), "awaited"),
    "setting": (lambda client: setattr(client, "host", "other"), None),
    "deleting": (lambda client: delattr(client, "host"), None),
    "dir": (lambda client: "get" in dir(client), True),
    "equality": (lambda client: client == client, True),  # noqa: PLR0124 - its own comparison
}


@pytest.mark.parametrize("use", USES)
def test_a_guard_forwards_every_use(use: str) -> None:
    """In the process of its creator it behaves as the object does."""
    act, expected = USES[use]
    client = per_process(guard=True)(Client)()

    assert expected == act(client)


@pytest.mark.parametrize("use", USES)
def test_a_guard_refuses_every_use_elsewhere(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reaches the object in a forked child."""
    act, _ = USES[use]
    client = per_process(guard=True)(Client)()
    fork_for_them(monkeypatch)

    with pytest.raises(ForkedResourceError):
        act(client)


def test_isinstance_takes_a_guard_for_the_object() -> None:
    """A guard is no other type to the app, but its type is its own."""
    client = per_process(guard=True)(Client)()

    assert isinstance(client, Client)
    assert type(client) is not Client
    assert "<guard of <" in repr(client)


def test_what_the_object_cannot_do_its_guard_cannot_do() -> None:
    """An object without a length stays one."""
    text = guarded(io.StringIO("x"), OwnedByProcess("text"))

    with pytest.raises(TypeError, match="has no len"):
        len(text)
    assert "x" == text.read()


def test_the_error_says_what_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What, created in which process at which line, used at which line, and the mend."""
    accounts = per_process(name="shop.accounts", guard=True)(Client)
    client = accounts()
    created_line = client.__init__.__code__.co_firstlineno  # a use, in the creator's process
    assert created_line
    fork_for_them(monkeypatch)
    monkeypatch.setattr(os, "getpid", lambda: 4250)

    with pytest.raises(ForkedResourceError) as caught:
        client.get()

    error = caught.value
    assert "The resource shop.accounts" == error.what
    assert __file__ in error.created_at
    assert __file__ in error.used_at
    assert error.created_at != error.used_at
    assert (
        f"The resource shop.accounts was created in process {error.created_in_pid} at "
        f"{error.created_at} and is used in process 4250, which was forked from that, at "
        f"{error.used_at}. Call shop.accounts() where you use it, and do not keep what it returns."
    ) == str(error)
    assert "<guard of The resource shop.accounts, created in process" in repr(client)


def test_a_class_of_ours_asks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """OwnedByProcess is what a client keeps for that."""
    owner = OwnedByProcess("DubboClient 127.0.0.1:20880")
    owner.check_owner()

    assert owner.is_owner()

    fork_for_them(monkeypatch)

    assert not owner.is_owner()
    with pytest.raises(ForkedResourceError, match="DubboClient"):
        owner.check_owner()
