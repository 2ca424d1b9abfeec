"""What the supervisor answers on its control socket. Runs in: supervisor, on its loop."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from tornado_multi.process import scoreboard as sb
from tornado_multi.settings.model import MAX_WORKERS
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.listeners import ListenError
from tornado_multi.supervisor.state import Phase, ReloadStep
from tornado_multi.supervisor.status import (
    Identity,
    build_status,
    committed_report,
    reload_progress,
    settling,
    unsettled_problem,
)
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tornado_multi.control.protocol import Request
    from tornado_multi.supervisor.children import Children
    from tornado_multi.supervisor.listener_set import ListenerSet
    from tornado_multi.supervisor.state import State

Reply = tuple[str, dict[str, Any]]
STACKS_WAIT_S = 1.0
"""A main thread that keeps the interpreter's lock lists no tasks; it is shown all the same."""
STACKS_LOOK_S = 0.02


class Turns:
    """Lets coroutines wait until the supervisor has taken in an event."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        """Return after the next turn."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def ended(self) -> None:
        """Wake all who wait."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Answers:
    """Reads the state; what is to change goes into the inbox as an event."""

    def __init__(
        self,
        identity: Identity,
        state: State,
        board: sb.Scoreboard,
        children: Children,
        *,
        post: Callable[[ev.Event], None],
        clock: Callable[[], float],
        listeners: ListenerSet,
        turns: Turns,
        finished: asyncio.Future[None],
        most_workers: int = MAX_WORKERS,
    ) -> None:
        self._identity = identity
        self._state = state
        self._board = board
        self._children = children
        self._post = post
        self._clock = clock
        self._listeners = listeners
        self._turns = turns
        self._finished = finished
        self._most_workers = most_workers

    async def answer(self, request: Request) -> AsyncIterator[Reply]:
        """Reply to one request until it is done."""
        match request.command:
            case "status":
                yield "done", {"status": self.status()}
            case "reload" | "scale" | "restart" | "stacks" if self._is_stopping():
                yield "error", {"text": "The service is stopping."}
            case "reload":
                async for reply in self._answer_reload(request):
                    yield reply
            case "scale":
                async for reply in self._answer_scale(request):
                    yield reply
            case "restart":
                async for reply in self._answer_restart(request):
                    yield reply
            case "stacks":
                async for reply in self._answer_stacks(request):
                    yield reply
            case "stop":
                self._post(ev.StopAsked(None, hurried=False))
                limits = self._state.limits
                limit_s = limits.drain_delay_s + limits.drain_timeout_s + limits.kill_grace_s
                yield "stopping", {"limit_s": limit_s, "workers": len(self._state.workers)}
                await asyncio.shield(self._finished)
                yield "done", {"exit_code": self._state.exit_code}
            case other:
                text = f"This supervisor (tornado_multi {VERSION}) knows no command {other!r}."
                yield "error", {"text": text}

    def status(self) -> dict[str, Any]:
        """Return the whole status; see ``supervisor.status``."""
        words = self._board.words

        def read_field(row: int, field: int) -> int:
            return words[sb.HEADER_WORDS + row * sb.ROW_WORDS + field]

        def route_name(row: int, route_id: int) -> str | None:
            handle = self._children.workers.get(row)
            return None if handle is None else handle.route_names.get(route_id)

        def told_by(row: int) -> dict[str, list[dict[str, Any]]]:
            handle = self._children.workers.get(row)
            steps = {} if handle is None else handle.slow_steps
            return {
                "resources": [] if handle is None else list(handle.resources),
                "slow_steps": [
                    {"handler": name, "count": count, "longest_s": longest_s}
                    for name, (count, longest_s) in sorted(steps.items())
                ],
            }

        return build_status(
            dataclasses.replace(self._identity, addresses=self._listeners.addresses()),
            self._state,
            read_field,
            route_name,
            self._clock(),
            told_by=told_by,
            strangers_reaped=self._children.strangers_reaped,
        )

    def _is_stopping(self) -> bool:
        is_due = self._state.stop_due_s is not None
        return is_due or self._state.phase in {Phase.STOPPING, Phase.FINISHED}

    async def _answer_reload(self, request: Request) -> AsyncIterator[Reply]:
        state = self._state
        number = state.reload_count + 1  # the next to begin, whether at once or queued
        self._post(ev.ReloadAsked("the reload command"))
        if state.reload is not None and state.reload.number != number:
            yield "queued", {"number": number, "behind": state.reload.number}
        wait_drain = request.arguments.get("wait_drain", True) is True
        told: dict[str, Any] = {}
        while not self._is_stopping():
            report = state.last_reload
            if report is not None and report.number >= number:
                yield "done", {"report": dataclasses.asdict(report)}
                return
            if state.reload is not None and state.reload.number == number:
                progress = reload_progress(state)
                if progress != told:
                    told = progress
                    yield "progress", progress
                if state.reload.step is ReloadStep.DRAINING and not wait_drain:
                    yield "done", {"report": committed_report(state, self._clock())}
                    return
            await self._turns.next()
        yield "error", {"text": "The service was stopped during the reload."}

    async def _answer_scale(self, request: Request) -> AsyncIterator[Reply]:
        wanted = request.arguments.get("workers")
        if type(wanted) is not int or not 1 <= wanted <= self._most_workers:
            yield "error", {"text": f"The number of workers must be 1..{self._most_workers}."}
            return
        try:
            self._listeners.open_for(range(wanted))
        except ListenError as error:
            yield "error", {"text": str(error)}
            return
        before = [item.text for item in self._listeners.addresses() if item.fork_id is not None]
        self._post(ev.ScaleAsked(wanted))
        async for event, reply in self._answer_settled(set(range(wanted))):
            if event == "done":
                now = {item.text for item in self._listeners.addresses()}
                reply["closed"] = [address for address in before if address not in now]
            yield event, reply

    async def _answer_restart(self, request: Request) -> AsyncIterator[Reply]:
        fork_id = request.arguments.get("fork_id")
        if type(fork_id) is not int or fork_id not in self._state.places:
            last = self._state.desired_workers - 1
            yield "error", {"text": f"There is no worker {fork_id}; fork_ids are 0..{last}."}
            return
        self._post(ev.RestartAsked(fork_id))
        async for reply in self._answer_settled({fork_id}):
            if reply[0] == "error":
                self._post(ev.RestartGivenUp(fork_id))
            yield reply

    async def _answer_settled(self, fork_ids: set[int]) -> AsyncIterator[Reply]:
        """Reply when these fork_ids have ready workers and nothing else is left to leave."""
        told: dict[str, Any] = {}
        while not self._is_stopping():
            problem = unsettled_problem(self._state, fork_ids)
            if problem is not None:
                yield "error", {"text": problem}
                return
            progress = settling(self._state, fork_ids)
            if progress != told:
                told = progress
                yield "progress", progress
            if not progress["starting"] and not progress["draining"]:
                yield "done", {"workers": self._state.desired_workers}
                return
            await self._turns.next()
        yield "error", {"text": "The service was stopped meanwhile."}

    async def _answer_stacks(self, request: Request) -> AsyncIterator[Reply]:
        fork_id = request.arguments.get("fork_id")
        if fork_id is not None and type(fork_id) is not int:
            yield "error", {"text": "fork_id must be a whole number."}
            return
        asked = [
            (worker, self._children.ask_for_stacks(worker.row))
            for worker in self._state.workers.values()
            if worker.row in self._children.workers and fork_id in {None, worker.fork_id}
        ]
        if not asked:
            yield "error", {"text": f"There is no worker {fork_id}."}
            return
        deadline_s = self._clock() + STACKS_WAIT_S
        while self._clock() < deadline_s and not all(  # noqa: ASYNC110 - threads write silently
            self._children.stacks(worker.row, number).is_whole for worker, number in asked
        ):
            await asyncio.sleep(STACKS_LOOK_S)
        stacks = [
            {
                "fork_id": worker.fork_id,
                "pid": worker.pid,
                "generation": worker.generation,
                "state": str(worker.state),
                "threads": told.threads,
                "tasks": told.tasks,
            }
            for worker, number in asked
            for told in [self._children.stacks(worker.row, number)]
        ]
        yield "done", {"stacks": stacks}
