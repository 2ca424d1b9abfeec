"""What a worker tells of its resources, and when it asks for their health."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.resources import lives
from tornado_multi.resources.per_process import PerProcess
from tornado_multi.worker.resources import HEALTH_INTERVAL_S, WorkerResources

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tornado_multi.process.messages import Message, Resources


@pytest.fixture(autouse=True)
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins a life in which nothing was created."""
    lives.watch_forks()
    begun = lives.Life(lives.current.epoch)
    begun.closes_at_exit = True
    monkeypatch.setattr(lives, "current", begun)
    yield
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Loop(asyncio.SelectorEventLoop):
    """Its clock can be put forward."""

    shift_s = 0.0

    def time(self) -> float:
        return super().time() + self.shift_s


class Stage:
    """A worker's resources on a loop, and what they send."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sent: list[Any] = []
        self.steps: list[str] = []
        self.resources = WorkerResources(self.loop, self.send, self.took)

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def took(self, what: str, spent_s: float) -> None:
        assert spent_s >= 0
        self.steps.append(what)

    def last(self) -> list[tuple[str, bool | None]]:
        message: Resources = self.sent[-1]
        return [(item["name"], item["healthy"]) for item in message.resources]

    async def beat(self, after_s: float = 0.0) -> None:
        """Let the clock go on, beat, and let everything happen that follows at once."""
        assert isinstance(self.loop, Loop)
        self.loop.shift_s += after_s
        self.resources.at_beat()
        for _ in range(10):
            await asyncio.sleep(0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario)


def test_each_change_is_told_once() -> None:
    """Creations, answers of checks and ends; nothing when nothing has changed."""

    async def scenario() -> None:
        stage = Stage()
        accessor = PerProcess(object, name="shop.accounts", health=lambda _: None)
        await stage.beat()
        assert [] == stage.sent
        accessor()
        await asyncio.sleep(0)
        assert [("shop.accounts", None)] == stage.last()
        await stage.beat()
        assert [("shop.accounts", True)] == stage.last()
        await stage.beat()
        assert 2 == len(stage.sent)
        await stage.resources.close(5.0)
        await asyncio.sleep(0)
        assert [] == stage.last()

    run(scenario())


def test_what_a_thread_creates_is_told_too() -> None:
    """By the loop."""

    async def scenario() -> None:
        stage = Stage()
        thread = threading.Thread(target=PerProcess(object, name="shop.accounts"))
        thread.start()
        thread.join()
        await stage.beat()
        assert [("shop.accounts", None)] == stage.last()

    run(scenario())


def test_health_is_asked_at_an_interval() -> None:
    """Soon after the creation, then each time that about ten seconds have passed."""

    async def scenario() -> None:
        stage = Stage()
        asked: list[object] = []
        PerProcess(object, health=asked.append)()
        await stage.beat()
        assert 1 == len(asked)
        await stage.beat(0.5 * HEALTH_INTERVAL_S)
        assert 1 == len(asked)
        await stage.beat(0.6 * HEALTH_INTERVAL_S)
        assert 2 == len(asked)

    run(scenario())


def test_a_check_that_takes_long_is_not_asked_again_meanwhile() -> None:
    """Nor is any once the resources are being closed."""

    async def scenario() -> None:
        stage = Stage()
        asked: list[object] = []

        async def slow(thing: object) -> None:
            asked.append(thing)
            await asyncio.Event().wait()

        PerProcess(object, health=slow)()
        await stage.beat()
        stage.resources._due_s = dict.fromkeys(stage.resources._due_s, 0.0)
        await stage.beat()
        assert 1 == len(asked)
        await stage.resources.close(5.0)
        PerProcess(object, health=slow)()
        await stage.beat(2 * HEALTH_INTERVAL_S)
        assert 1 == len(asked)

    run(scenario())
