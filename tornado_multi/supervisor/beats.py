"""Looking at the beats of all workers, five times a second. Runs in: supervisor, on its loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.process import scoreboard as sb
from tornado_multi.process.linux import is_stopped
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.liveness import is_notable
from tornado_multi.supervisor.state import WorkerState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tornado_multi.supervisor.children import Children
    from tornado_multi.supervisor.state import State

NS_PER_S = 1_000_000_000
LOOK_S = 0.2
"""Between two looks, which cost a microsecond for each worker."""
SUSPENDED_S = 1.0
"""A timer that is this late says that we did not run: no process is judged by that time."""


class Beats:
    """The beats in the scoreboard, and the looks at them."""

    def __init__(
        self,
        board: sb.Scoreboard,
        state: State,
        children: Children,
        *,
        post: Callable[[ev.Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._board = board
        self._state = state
        self._children = children
        self._post = post
        self._clock = clock
        self._runs_since_s = 0.0
        """Monotonic. When we went on after a time in which we did not run: silences count from then."""

    def look_from_now_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again and again, as long as the loop runs."""
        due_s = self._clock() + LOOK_S
        loop.call_at(due_s, self._look, loop, due_s)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        """Post what is notable; a look that comes late judges nobody.

        Whoever was suspended with us may go on later than we do, so that the looks after it count
        no silence from before.
        """
        now_s = self._clock()
        if now_s - due_s >= SUSPENDED_S:
            self._runs_since_s = now_s
        else:
            samples = tuple(self._samples(now_s))
            if samples:
                self._post(ev.Looked(samples))
        self.look_from_now_on(loop)

    def _samples(self, now_s: float) -> Iterator[ev.Sample]:
        words = self._board.words
        for row, worker in self._state.workers.items():
            base = sb.HEADER_WORDS + row * sb.ROW_WORDS
            beat_age_s = now_s - max(words[base + sb.BEAT_NS] / NS_PER_S, self._runs_since_s)
            if is_notable(self._state, worker, beat_age_s):
                yield ev.Sample(
                    row,
                    beat_age_s,
                    is_stopped=is_stopped(worker.pid),
                    route=self._children.route_name(row, words[base + sb.ROUTE_ID]),
                )

    def youngest_age_s(self) -> float | None:
        """Return how long ago a ready worker has beaten last; None: there is no ready worker."""
        beats_ns = [
            self._board.row(worker.row).load(sb.BEAT_NS)
            for worker in self._state.workers.values()
            if worker.state is WorkerState.READY
        ]
        return None if not beats_ns else self._clock() - max(beats_ns) / NS_PER_S
