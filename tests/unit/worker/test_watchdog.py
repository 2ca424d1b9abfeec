"""What a worker's tasks are doing, told by a thread while the loop itself is blocked."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import eventually

from tornado_multi.process import messages as msg
from tornado_multi.worker import tornado_private as private
from tornado_multi.worker.stacks import render_other_threads, render_tasks
from tornado_multi.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Coroutine


def watchdog_threads() -> list[threading.Thread]:
    return [item for item in threading.enumerate() if item.name == "tornado_multi watchdog"]


def answer(watchdog: Watchdog, number: int) -> msg.Tasks:
    """Ask as the supervisor does, and wait for the answer."""
    watchdog.theirs.send(msg.ListTasks(number))
    received = watchdog.theirs.receive()
    assert received is not None
    assert isinstance(received.message, msg.Tasks)
    return received.message


def test_it_answers_while_the_loop_is_blocked() -> None:
    """The question comes and is answered within one step of a task."""

    async def asks(watchdog: Watchdog) -> msg.Tasks:
        return answer(watchdog, 7)  # this blocks the loop

    async def main() -> msg.Tasks:
        watchdog = Watchdog(asyncio.get_running_loop())
        waiting = asyncio.create_task(asyncio.Event().wait(), name="waits for ever")
        await asyncio.sleep(0)
        task = asyncio.create_task(asks(watchdog), name="blocks")
        try:
            return await task
        finally:
            waiting.cancel()
            watchdog.theirs.close()

    tasks = asyncio.run(main())

    assert 7 == tasks.number
    assert "task 'blocks' (outermost call first):" in tasks.text
    assert "task 'waits for ever' (outermost call first):" in tasks.text
    assert "in asks\n    return answer(watchdog, 7)" in tasks.text
    assert "in answer\n    " in tasks.text  # it sends still, or receives
    eventually(lambda: not watchdog_threads(), about="the watchdog's thread is gone")


def test_it_answers_each_question_with_its_number() -> None:
    """So that an answer that came late is not taken for one to a later question."""

    async def main() -> list[int]:
        watchdog = Watchdog(asyncio.get_running_loop())
        try:
            return [answer(watchdog, number).number for number in (1, 2, 9)]
        finally:
            watchdog.theirs.close()

    assert [1, 2, 9] == asyncio.run(main())


def test_it_ends_with_the_supervisors_end_of_the_channel() -> None:
    """No thread and no descriptor is left."""

    async def main() -> None:
        gc.collect()  # what earlier tests left would be closed in between
        before = len(os.listdir("/proc/self/fd"))
        watchdog = Watchdog(asyncio.get_running_loop())

        assert 1 == len(watchdog_threads())

        watchdog.theirs.close()
        eventually(lambda: not watchdog_threads())

        assert before == len(os.listdir("/proc/self/fd"))

    asyncio.run(main())


def test_a_message_that_it_does_not_know_is_ignored() -> None:
    """A later supervisor may ask for more."""

    async def main() -> int:
        watchdog = Watchdog(asyncio.get_running_loop())
        try:
            watchdog.theirs.send(msg.ReopenLogs())
            return answer(watchdog, 3).number
        finally:
            watchdog.theirs.close()

    assert 3 == asyncio.run(main())


# --- what is listed -------------------------------------------------------------------------------


async def inner(event: asyncio.Event) -> None:
    await event.wait()


async def outer(event: asyncio.Event) -> None:
    await inner(event)


def rendered(coroutine: Coroutine[Any, Any, Any]) -> str:
    """Return how a task is listed that runs *coroutine* to its first wait."""

    async def main() -> str:
        task = asyncio.create_task(coroutine, name="the task")
        await asyncio.sleep(0)
        try:
            return render_tasks({task})
        finally:
            task.cancel()

    return asyncio.run(main())


def test_a_task_is_listed_down_to_what_it_waits_for() -> None:
    """Outermost call first, as in a traceback, with the lines of each."""
    text = rendered(outer(asyncio.Event()))
    places = [text.index(line) for line in ("await inner(event)", "await event.wait()")]

    assert sorted(places) == places
    assert text.startswith("task 'the task' (outermost call first):\n")


def test_the_frames_beneath_timed_steps_are_listed() -> None:
    """A handler's own line is found through the steps by which it is timed."""

    async def handler() -> None:
        event = asyncio.Event()
        await private._in_steps(outer(event), None, 1.0, lambda *_: None)  # type: ignore[arg-type]

    text = rendered(handler())

    assert "await event.wait()" in text
    assert "await inner(event)" in text


@pytest.mark.parametrize("count", [0, 3])
def test_tasks_are_listed_by_name(count: int) -> None:
    """The order does not change from one report to the next."""

    async def main() -> str:
        tasks = {
            asyncio.create_task(asyncio.Event().wait(), name=f"task {number}")
            for number in reversed(range(count))
        }
        await asyncio.sleep(0)
        try:
            return render_tasks(tasks)
        finally:
            for task in tasks:
                task.cancel()

    names = [line for line in asyncio.run(main()).splitlines() if line.startswith("task ")]

    assert [f"task 'task {number}' (outermost call first):" for number in range(count)] == names


def test_tasks_that_can_not_be_listed_do_not_silence_it() -> None:
    """An app may have tasks of its own making; the next question is answered as well."""

    class OddTask(asyncio.Task[None]):
        def get_coro(self) -> Any:
            raise LookupError("not yet")

    def text(watchdog: Watchdog, number: int) -> str:
        watchdog.theirs.send(msg.ListTasks(number))
        received = eventually(watchdog.theirs.receive, about="an answer")
        assert isinstance(received.message, msg.Tasks)
        return received.message.text

    async def main() -> list[str]:
        watchdog = Watchdog(asyncio.get_running_loop())
        watchdog.theirs.set_blocking(False)
        odd = OddTask(asyncio.sleep(600))
        try:
            first = text(watchdog, 1)
            odd.cancel()
            await asyncio.wait({odd})
            return [first, text(watchdog, 2)]
        finally:
            watchdog.theirs.close()

    first, second = asyncio.run(main())

    assert "They can't be listed: LookupError: not yet" == first
    assert "in main" in second
    eventually(lambda: not watchdog_threads(), about="the watchdog's thread is gone")


def test_other_threads_are_told_by_name_and_those_at_one_place_together() -> None:
    """An idle pool has dozens of threads that wait at the same line."""
    gate = threading.Event()
    started = threading.Barrier(8)

    def wait_for_work() -> None:
        started.wait()
        gate.wait()

    pool = [threading.Thread(target=wait_for_work, name=f"pool {number}") for number in range(6)]
    alone = threading.Thread(target=lambda: (started.wait(), gate.wait()), name="alone")
    for thread in (*pool, alone):
        thread.start()
    started.wait()
    try:
        text = eventually(
            lambda: (said := render_other_threads(0)).count("in wait\n") == 2 * 2 and said,
            about="all at their places",
        )
        without = render_other_threads(alone.ident or 0)
    finally:
        gate.set()
        for thread in (*pool, alone):
            thread.join()

    assert "6 threads, 'pool 0', 'pool 1', 'pool 2', 'pool 3' and 2 more (most recent" in text
    assert "Thread 'alone' (most recent call first):\n  File \"" in text
    assert " in wait_for_work\n" in text
    assert "MainThread" not in text
    assert "alone" not in without
