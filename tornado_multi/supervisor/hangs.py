"""What a worker with a silent loop is doing, put into the log: at once, and the rest when it comes.

Its main thread's stack comes from a signal handler beneath Python, so it always does; those of its
tasks and other threads from a thread of the worker, which must wait for the interpreter's lock.
Runs in: supervisor, on its loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.wording import worker_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tornado_multi.supervisor.children import Children
    from tornado_multi.supervisor.report import Reporter
    from tornado_multi.supervisor.state import State

GATHER_S = 0.2
"""For the stacks to come; they take a few milliseconds where the machine is not busy."""


@dataclass(slots=True)
class _Pending:
    """A report whose tasks have not come yet."""

    number: int
    who: str
    is_said: bool = False


class HangReports:
    """Asks workers for their stacks and says what they answer."""

    def __init__(
        self,
        children: Children,
        state: State,
        reporter: Reporter,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self._children = children
        self._state = state
        self._reporter = reporter
        self._loop = loop
        self._clock = clock
        self._pending: dict[int, _Pending] = {}
        """row -> the report that waits for its tasks"""

    def report(self, hang: ev.ReportHang) -> None:
        """Ask for the stacks; say them when there was time to write them."""
        worker = self._state.workers.get(hang.row)
        if worker is None or hang.row not in self._children.workers:
            return
        number = self._children.ask_for_stacks(hang.row)
        pending = _Pending(number, worker_name(worker))
        self._pending[hang.row] = pending
        self._loop.call_later(GATHER_S, self._say, hang, pending)

    def tasks_came(self, row: int, number: int) -> None:
        """Say the tasks of a report that was said without them."""
        pending = self._pending.get(row)
        if pending is None or pending.number != number or not pending.is_said:
            return
        del self._pending[row]
        told = self._children.stacks(row, number)
        text = f"Its asyncio tasks, now that the interpreter's lock is free:\n{told.tasks}"
        text += f"\nIts other threads:\n{told.others}" if told.others else ""
        extra = {"tasks": told.tasks, "other_threads": told.others}
        self._reporter.say(ev.Say("warning", pending.who, text, extra))

    def _say(self, hang: ev.ReportHang, pending: _Pending) -> None:
        if self._pending.get(hang.row) is not pending:
            return
        told = self._children.stacks(hang.row, pending.number)
        pending.is_said = True
        if told.tasks is not None:
            del self._pending[hang.row]
        where = f" in {hang.route}" if hang.route else ""
        parts = [
            f"The event loop has not run for {hang.silent_s:.1f} s{where}.",
            told.threads or "Its threads' stacks could not be had.",
        ]
        if told.tasks is None:
            parts.append(
                "Its asyncio tasks and other threads follow when the interpreter's lock is free."
            )
        else:
            parts.append(f"Its asyncio tasks:\n{told.tasks}")
        extra: dict[str, Any] = {
            "silent_s": round(hang.silent_s, 3),
            "route": hang.route,
            "threads": told.threads,
            "tasks": told.tasks,
        }
        self._reporter.say(ev.Say("warning", pending.who, "\n".join(parts), extra))
