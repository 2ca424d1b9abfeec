"""Says what tasks and threads are doing while the loop itself can't: a thread that mostly sleeps.

It waits in the kernel for the supervisor's question, so it costs nothing until then. It answers as
soon as it gets the interpreter's lock: while a handler sleeps or waits for another server; not
while one computes in C without letting go of the lock.
Runs in: worker, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from tornado_multi.process import messages as msg
from tornado_multi.process.channel import Channel, ChannelClosed
from tornado_multi.process.messages import RemoteProtocolError
from tornado_multi.worker.stacks import render_other_threads, render_tasks


class Watchdog:
    """Answers ListTasks for one loop until the supervisor closes its end.

    Made on the thread of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loops_thread = threading.get_ident()
        self._ours, self.theirs = Channel.pair()
        threading.Thread(target=self._run, name="tornado_multi watchdog", daemon=True).start()

    def _run(self) -> None:
        try:
            while (received := self._ours.receive()) is not None:
                if isinstance(received.message, msg.ListTasks):
                    self._ours.send(self._answer(received.message.number))
        except (ChannelClosed, RemoteProtocolError, OSError):
            self._ours.close()

    def _answer(self, number: int) -> msg.Tasks:
        return msg.Tasks(number, self._tasks(), render_other_threads(threading.get_ident()))

    def _tasks(self) -> str:
        running = sys._current_frames().get(self._loops_thread)  # noqa: SLF001 - public by its documentation
        try:
            return render_tasks(asyncio.all_tasks(self._loop), running)
        except Exception as error:  # noqa: BLE001 - tasks may be of the app's own making, and the loop may run
            return f"They can't be listed: {type(error).__name__}: {error}"
