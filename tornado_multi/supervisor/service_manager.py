"""What we tell systemd, and when. Source: sd_notify(3), systemd.service(5), sd_watchdog_enabled(3).

``moment_of`` and ``words`` are pure: what is to be said follows from two looks at the state.
Runs in: supervisor, on its loop.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tornado_multi.supervisor.state import Phase, State, WorkerState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, MutableMapping

US_PER_S = 1_000_000
EXTEND_EVERY_S = 5.0
EXTEND_BY_S = 15.0
"""While we start, reload or stop, systemd's time limit moves on: our own limits end those steps."""
FRESH_BEAT_S = 2.0
"""Workers beat twice a second; one that beat within this time is alive for the watchdog."""
LONGEST_REASON = 200
RETRY_EVERY_S = 0.1
MOST_UNSENT = 1000
"""Messages that wait for a manager that does not read; then the oldest are dropped."""


class Stage(StrEnum):
    """What systemd distinguishes."""

    STARTING = "starting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the state."""

    stage: Stage
    text: str
    """For ``systemctl status``; one line."""
    reload_number: int = 0
    """Of the reload under way, or of the last one."""


def moment_of(state: State, app: str) -> Moment:
    """Say what is to be known of the state."""
    if state.stop_due_s is not None:
        return Moment(Stage.STOPPING, "Going to stop, and serving until then.", state.reload_count)
    match state.phase:
        case Phase.BOOTING:
            return Moment(Stage.STARTING, f"Starting {app}.")
        case Phase.STOPPING | Phase.FINISHED:
            return Moment(Stage.STOPPING, "Stopping.", state.reload_count)
        case Phase.SERVING if state.reload is not None:
            return Moment(Stage.RELOADING, f"Reloading {app}.", state.reload.number)
    ready = sum(worker.state is WorkerState.READY for worker in state.workers.values())
    text = (
        f"Serving {app}: {ready} of {state.desired_workers} workers ready, "
        f"generation {state.serving_generation()}."
    )
    last = state.last_reload
    if last is not None and last.reason is not None:
        reason = last.reason.partition("\n")[0].rstrip(".")[:LONGEST_REASON]
        text += f" The last reload failed: {reason}."
    return Moment(Stage.READY, text, state.reload_count)


def words(before: Moment | None, now: Moment, monotonic_us: int) -> list[str]:
    """Return the messages that lead systemd from one moment to the other.

    Each RELOADING stands between two READY, whatever one turn of the inbox has led through:
    systemd waits for the second one, and takes no RELOADING before the first.
    """
    if before == now:
        return []
    status = f"STATUS={now.text}"
    reloading = f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}"
    said: list[str] = []
    was = None if before is None else before.stage
    reload_begun = before is not None and now.reload_number > before.reload_number
    reload_over = was is Stage.RELOADING and (reload_begun or now.stage is Stage.STOPPING)
    start_over = was is Stage.STARTING and reload_begun
    if reload_over or start_over:
        said.append("READY=1")
    if reload_begun and now.stage is Stage.READY:
        said.append(reloading)  # it is over by now: the settings could not be read
    if now.stage is Stage.STARTING or (was is now.stage and not said):
        said.append(status)
    elif now.stage is Stage.READY:
        said.append(f"READY=1\n{status}")
    elif now.stage is Stage.RELOADING:
        said.append(f"{reloading}\n{status}")
    else:
        said.append(f"STOPPING=1\n{status}")
    return said


class ServiceManager:
    """The way to systemd; silent where nobody listens."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._moment: Moment | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsent: deque[str] = deque(maxlen=MOST_UNSENT)
        self._will_retry = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Read and remove what systemd has put into *environment* for this process."""
        address = environment.pop("NOTIFY_SOCKET", None)
        usec = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and pid == str(os.getpid())
        return cls(address, int(usec) / US_PER_S if watched else None)

    def tell(self, moment: Moment) -> None:
        """Say what has changed."""
        if self._address is None:
            return
        for message in words(
            self._moment, moment, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        ):
            self._send(message)
        self._moment = moment

    def keep_telling(
        self, loop: asyncio.AbstractEventLoop, youngest_beat_age_s: Callable[[], float | None]
    ) -> None:
        """Extend time limits and feed the watchdog from now on.

        Args: youngest_beat_age_s: of all ready workers; None: there is none.
        """
        if self._address is None:
            return
        self._loop = loop
        self._send_waiting()

        def extend() -> None:
            if self._moment is not None and self._moment.stage is not Stage.READY:
                self._send(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY_S * US_PER_S)}")
            self._later(loop, EXTEND_EVERY_S, extend)

        def feed(every_s: float) -> None:
            age_s = youngest_beat_age_s()
            serving = self._moment is not None and self._moment.stage in {
                Stage.READY,
                Stage.RELOADING,
            }
            if not serving or (age_s is not None and age_s < max(FRESH_BEAT_S, every_s)):
                self._send("WATCHDOG=1")
            self._later(loop, every_s, feed, every_s)

        self._later(loop, EXTEND_EVERY_S, extend)
        if self._watchdog_s is not None:
            feed(self._watchdog_s / 2)

    def close(self) -> None:
        """Say nothing more."""
        for timer in self._timers:
            timer.cancel()
        self._address = None

    def _later(
        self,
        loop: asyncio.AbstractEventLoop,
        after_s: float,
        call: Callable[..., None],
        *args: float,
    ) -> None:
        now_s = loop.time()
        self._timers = [timer for timer in self._timers if timer.when() > now_s]
        self._timers.append(loop.call_later(after_s, call, *args))

    def _send(self, message: str) -> None:
        self._unsent.append(message)
        self._send_waiting()

    def _retry(self) -> None:
        self._will_retry = False
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send what waits, in order; what does not fit into the manager's queue goes on waiting."""
        while self._unsent:
            if not self._was_taken(self._unsent[0]):
                if self._loop is not None and not self._will_retry:
                    self._will_retry = True
                    self._later(self._loop, RETRY_EVERY_S, self._retry)
                return
            self._unsent.popleft()

    def _was_taken(self, message: str) -> bool:
        """Send one message; False: try again, because the manager's queue is full."""
        if self._address is None:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.connect(address)
                # A file name in the reason of a failure may be no text.
                sock.send(message.encode("utf-8", "replace"))
        except BlockingIOError:
            return False
        except OSError:
            return True  # a manager that is gone must not stop the service
        return True
