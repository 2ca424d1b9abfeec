"""What systemd is told: the messages as they follow from histories, and when they are sent."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.histories import INT, LEFT, TERM, Replay, replay, serving, started_worker

from tornado_multi.process.messages import Drained
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.service_manager import (
    EXTEND_EVERY_S,
    Moment,
    ServiceManager,
    Stage,
    moment_of,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.histories import Moment as At

NOW_US = 42_000_000
SAME = ev.SettingsRead(replay([]).state.limits, None)
RELOADING = f"RELOADING=1\nMONOTONIC_USEC={NOW_US}\nSTATUS=Reloading shop:make_app."
STOPPING = "STOPPING=1\nSTATUS=Stopping."


def ready(text: str) -> str:
    return f"READY=1\nSTATUS={text}"


def serves(workers: str, generation: int) -> str:
    return f"Serving shop:make_app: {workers} workers ready, generation {generation}."


class Listener:
    """Looks at the state after each turn, as the supervisor does."""

    def __init__(self, workers: int = 1) -> None:
        self.seen = Replay(replay([], workers=workers).state)
        self._before: Moment | None = None

    def after(self, *history: At) -> list[str]:
        """Return what is said after a turn of these events."""
        self.seen.then(*history)
        now = moment_of(self.seen.state, "shop:make_app")
        said = words(self._before, now, NOW_US)
        self._before = now
        return said

    def after_each(self, *history: At) -> list[str]:
        """Return what is said when each of these events is a turn of its own."""
        return [message for moment in history for message in self.after(moment)]


def reloaded(at_s: float = 10.0, generation: int = 2) -> list[At]:
    """A reload of one worker, from its begin to the end of the old worker."""
    return [
        (at_s, ev.ReloadAsked("SIGHUP")),
        (at_s, SAME),
        (at_s, ev.ZygoteSpawned(generation, 100 + generation)),
        (at_s, ev.ZygoteLoaded(generation, 0.1)),
        *started_worker(1, at_s=at_s),
        (at_s, ev.WorkerDrained(0, Drained(0.1, 1, 1, 0, 0, 0))),
        (at_s, ev.WorkerEnded(0, LEFT, 5)),
    ]


# --- what is said ---------------------------------------------------------------------------------


def test_a_start_is_ready_when_the_last_worker_is() -> None:
    """One STATUS while the app boots, and READY with the last worker, not with the first."""
    manager = Listener(workers=2)
    *first, last = serving(2)

    assert ["STATUS=Starting shop:make_app."] == manager.after_each(*first)
    assert [ready(serves("2 of 2", 1))] == manager.after(last)


def test_a_reload_is_announced_with_the_clock_and_ends_with_ready() -> None:
    """RELOADING with MONOTONIC_USEC, then READY when the old worker has left, and nothing else."""
    manager = Listener()
    manager.after_each(*serving())

    assert [RELOADING, ready(serves("1 of 1", 2))] == manager.after_each(*reloaded())


def test_a_failed_reload_ends_with_ready_too() -> None:
    """The first line of the reason is in the status, until a reload succeeds."""
    manager = Listener()
    manager.after_each(*serving())
    failed = [
        (10.0, ev.ReloadAsked("SIGHUP")),
        (10.0, SAME),
        (10.0, ev.ZygoteSpawned(2, 102)),
        (10.0, ev.ZygoteLoadFailed(2, "The app raised.\nSecond line", "Traceback", usage=False)),
        (10.0, ev.ZygoteEnded(2, LEFT)),
    ]
    text = f"{serves('1 of 1', 1)} The last reload failed: The app raised."

    assert [RELOADING, ready(text)] == manager.after_each(*failed)
    assert [RELOADING, ready(serves("1 of 1", 3))] == manager.after_each(
        *reloaded(20.0, generation=3)
    )


def test_a_long_reason_is_cut() -> None:
    """A status is one line that people can read."""
    manager = Listener()
    manager.after_each(*serving())
    refused = [(10.0, ev.ReloadAsked("SIGHUP")), (10.0, ev.SettingsRefused("x" * 1000))]
    (_, last) = manager.after_each(*refused)

    assert last.endswith(f"The last reload failed: {'x' * 200}.")


def test_a_reload_that_begins_and_ends_in_one_turn_is_told_whole() -> None:
    """Settings that can't be read: RELOADING, then READY, or Type=notify-reload would wait."""
    manager = Listener()
    manager.after_each(*serving())
    said = manager.after(
        (10.0, ev.ReloadAsked("SIGHUP")), (10.0, ev.SettingsRefused("The file is gone."))
    )
    text = f"{serves('1 of 1', 1)} The last reload failed: The file is gone."

    assert [f"RELOADING=1\nMONOTONIC_USEC={NOW_US}", ready(text)] == said


def test_a_queued_reload_that_follows_in_the_same_turn() -> None:
    """The first reload's READY stands between the two RELOADING."""
    manager = Listener()
    manager.after_each(*serving())
    *most, last = reloaded()
    manager.after_each(*most, (10.0, ev.ReloadAsked("SIGHUP")))

    assert ["READY=1", RELOADING] == manager.after(last)


def test_a_queued_reload_that_fails_in_the_same_turn() -> None:
    """Both reloads are told, and READY is the last word."""
    manager = Listener()
    manager.after_each(*serving())
    *most, last = reloaded()
    manager.after_each(*most, (10.0, ev.ReloadAsked("SIGHUP")))
    said = manager.after(last, (10.0, ev.SettingsRefused("The file is gone.")))
    text = f"{serves('1 of 1', 2)} The last reload failed: The file is gone."

    assert ["READY=1", f"RELOADING=1\nMONOTONIC_USEC={NOW_US}", ready(text)] == said


def test_a_reload_that_was_asked_for_during_the_start() -> None:
    """READY comes before its RELOADING, which systemd would not take while the unit starts."""
    manager = Listener()
    *first, last = serving()
    manager.after_each(first[0], (0.0, ev.ReloadAsked("SIGHUP")), *first[1:])

    assert ["READY=1", RELOADING] == manager.after(last)


def test_a_stop() -> None:
    """STOPPING once, and nothing while workers leave."""
    manager = Listener(workers=2)
    manager.after_each(*serving(2))
    stopping = [
        (10.0, TERM),
        (10.1, ev.WorkerEnded(0, LEFT, 0)),
        (10.2, ev.WorkerEnded(1, LEFT, 0)),
    ]

    assert [STOPPING] == manager.after_each(*stopping, (10.3, ev.ZygoteEnded(1, LEFT)))


def test_a_hurried_stop_says_no_more_than_another() -> None:
    """INT after TERM is still one stop."""
    manager = Listener()
    manager.after_each(*serving())

    assert [STOPPING] == manager.after_each((10.0, TERM), (11.0, INT))


def test_a_stop_during_a_reload() -> None:
    """The reload's READY is said before STOPPING."""
    manager = Listener()
    manager.after_each(*serving(), *reloaded()[:3])

    assert ["READY=1", STOPPING] == manager.after((10.5, TERM))


def test_a_stop_during_the_start() -> None:
    """STOPPING without READY: the service never was."""
    manager = Listener()
    manager.after_each(*serving()[:2])

    assert [STOPPING] == manager.after((1.0, TERM))


def test_a_failed_first_start() -> None:
    """STOPPING without READY."""
    manager = Listener()
    manager.after_each(*serving()[:2])

    assert [STOPPING] == manager.after_each(
        (1.0, ev.ZygoteLoadFailed(1, "The app raised.", "Traceback", usage=False)),
        (1.1, ev.ZygoteEnded(1, LEFT)),
    )


def test_a_worker_that_is_replaced_changes_the_status_only() -> None:
    """The service is still ready, and says how much of it."""
    manager = Listener(workers=2)
    manager.after_each(*serving(2))
    died = manager.after((100.0, ev.WorkerEnded(0, LEFT, 5)))
    again = manager.after_each(*started_worker(0, at_s=100.1))

    assert [f"STATUS={serves('1 of 2', 1)}"] == died
    assert [f"STATUS={serves('2 of 2', 1)}"] == again


# --- when it is sent ------------------------------------------------------------------------------


class Loop:
    """A loop's clock and timers, driven by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, after_s: float, call: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now_s + after_s, call, args)
        self._timers.append(timer)
        return timer

    def pass_time(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [
            item for item in self._timers if not item.is_cancelled and item.at_s <= end_s
        ]:
            timer = min(due, key=Timer.when)
            self._timers.remove(timer)
            self.now_s = timer.at_s
            timer.call(*timer.args)
        self.now_s = end_s

    def pending(self) -> int:
        return sum(not timer.is_cancelled for timer in self._timers)


class Timer:
    def __init__(self, at_s: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at_s, self.call, self.args = at_s, call, args
        self.is_cancelled = False

    def when(self) -> float:
        return self.at_s

    def cancel(self) -> None:
        self.is_cancelled = True


class Peer:
    """A notify socket that is read when the test says so."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.address)
        self.sock.setblocking(False)

    def read(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return found

    def fill(self) -> int:
        """Fill the queue, as a manager that is busy elsewhere lets it; return how many fitted."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            other.connect(self.address)
            for count in range(1_000_000):
                try:
                    other.send(b"OTHER=1")
                except BlockingIOError:
                    return count
        raise AssertionError("the queue has no end")


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path / "notify")
    yield made
    made.sock.close()


def moment(stage: Stage, text: str = "x", number: int = 0) -> Moment:
    return Moment(stage, text, number)


def manager_of(peer: Peer, **environment: str) -> ServiceManager:
    return ServiceManager.from_environment({"NOTIFY_SOCKET": peer.address} | environment)


def extensions(messages: list[str]) -> list[str]:
    return [message for message in messages if "EXTEND" in message]


@pytest.mark.parametrize("stage", [Stage.STARTING, Stage.RELOADING, Stage.STOPPING])
def test_a_step_that_lasts_moves_the_time_limit_on(peer: Peer, stage: Stage) -> None:
    """Every 5 s there are 15 s more, so that one lost message does no harm."""
    loop, manager = Loop(), manager_of(peer)
    manager.tell(moment(stage))
    manager.keep_telling(loop, lambda: 0.1)  # type: ignore[arg-type]
    peer.read()
    loop.pass_time(EXTEND_EVERY_S - 0.1)
    early = peer.read()
    loop.pass_time(10.1)

    assert 5.0 == EXTEND_EVERY_S
    assert [] == early
    assert ["EXTEND_TIMEOUT_USEC=15000000"] * 3 == peer.read()


def test_a_service_that_is_ready_asks_for_no_time(peer: Peer) -> None:
    """A limit that was moved on while nothing goes on could hide one that matters."""
    loop, manager = Loop(), manager_of(peer)
    manager.tell(moment(Stage.READY))
    manager.keep_telling(loop, lambda: 0.1)  # type: ignore[arg-type]
    loop.pass_time(60)
    assert [] == extensions(peer.read())
    manager.tell(moment(Stage.STOPPING))
    loop.pass_time(5)

    assert ["EXTEND_TIMEOUT_USEC=15000000"] == extensions(peer.read())


@pytest.mark.parametrize(
    ("stage", "age_s", "fed"),
    [
        (Stage.STARTING, None, True),
        (Stage.READY, 0.5, True),
        (Stage.READY, 4.9, True),
        (Stage.READY, 5.1, False),
        (Stage.READY, None, False),
        (Stage.RELOADING, 0.5, True),
        (Stage.RELOADING, 5.1, False),
        (Stage.STOPPING, None, True),
    ],
)
def test_the_watchdog_is_fed_while_a_worker_beats(
    peer: Peer,
    stage: Stage,
    age_s: float | None,
    fed: bool,  # noqa: FBT001
) -> None:
    """Twice per period; while we start and stop, that we run is enough."""
    loop, manager = Loop(), manager_of(peer, WATCHDOG_USEC="10000000")
    manager.tell(moment(stage))
    manager.keep_telling(loop, lambda: age_s)  # type: ignore[arg-type]
    loop.pass_time(19.9)

    assert (4 if fed else 0) == peer.read().count("WATCHDOG=1")


def test_a_short_watchdog_leaves_room_for_a_heartbeat(peer: Peer) -> None:
    """A worker beats twice a second: a beat of 1.9 s ago is alive also for a watchdog of 1 s."""
    loop, manager = Loop(), manager_of(peer, WATCHDOG_USEC="1000000")
    manager.tell(moment(Stage.READY))
    manager.keep_telling(loop, lambda: 1.9)  # type: ignore[arg-type]
    loop.pass_time(0.9)

    assert 2 == peer.read().count("WATCHDOG=1")


@pytest.mark.parametrize(
    ("usec", "pid", "watched"),
    [
        ("2000000", None, True),
        ("2000000", "own", True),
        ("2000000", "1", False),
        ("0", None, False),
        ("", None, False),
        ("-1", None, False),
        ("soon", None, False),
        ("²", None, False),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    peer: Peer,
    usec: str,
    pid: str | None,
    watched: bool,  # noqa: FBT001
) -> None:
    """WATCHDOG_USEC counts if WATCHDOG_PID is ours or absent, and nothing of it is left over."""
    environment = {"NOTIFY_SOCKET": peer.address, "WATCHDOG_USEC": usec, "HOME": "/"}
    if pid is not None:
        environment["WATCHDOG_PID"] = str(os.getpid()) if pid == "own" else pid
    manager = ServiceManager.from_environment(environment)
    manager.keep_telling(Loop(), lambda: 0.1)  # type: ignore[arg-type]

    assert (["WATCHDOG=1"] if watched else []) == peer.read()
    assert {"HOME": "/"} == environment


def test_no_more_is_said_after_the_end(peer: Peer) -> None:
    """A service that is over leaves no timer behind and says nothing."""
    loop, manager = Loop(), manager_of(peer, WATCHDOG_USEC="2000000")
    manager.tell(moment(Stage.STOPPING))
    manager.keep_telling(loop, lambda: 0.1)  # type: ignore[arg-type]
    loop.pass_time(20)
    peer.read()
    manager.close()
    manager.tell(moment(Stage.READY))
    loop.pass_time(20)

    assert [] == peer.read()
    assert 0 == loop.pending()


def test_without_a_manager_nothing_is_kept(tmp_path: Path) -> None:
    """No NOTIFY_SOCKET: no timer, no socket."""
    loop, manager = Loop(), ServiceManager.from_environment({"WATCHDOG_USEC": "2000000"})
    manager.tell(moment(Stage.READY))
    manager.keep_telling(loop, lambda: 0.1)  # type: ignore[arg-type]

    assert 0 == loop.pending()


@pytest.mark.parametrize("address", ["", "@", "/no/such/socket", "x" * 200, "vsock:2:1"])
def test_a_manager_that_can_not_be_reached_stops_nothing(address: str) -> None:
    """The service serves on, whatever NOTIFY_SOCKET holds."""
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
    manager.tell(moment(Stage.READY))
    manager.keep_telling(Loop(), lambda: 0.1)  # type: ignore[arg-type]


def test_what_does_not_fit_is_sent_later_and_in_order(peer: Peer) -> None:
    """A manager whose queue is full when we are ready hears of it when it reads again."""
    loop, manager = Loop(), manager_of(peer)
    manager.keep_telling(loop, lambda: 0.1)  # type: ignore[arg-type]
    filled = peer.fill()
    began_s = time.monotonic()
    manager.tell(moment(Stage.STARTING, "a"))
    manager.tell(moment(Stage.READY, "b"))
    loop.pass_time(0.3)

    assert time.monotonic() - began_s < 1, "the supervisor has waited for the manager"
    assert ["OTHER=1"] * filled == peer.read()

    loop.pass_time(0.1)

    assert ["STATUS=a", "READY=1\nSTATUS=b"] == peer.read()


def test_a_reason_that_is_no_text_is_said_all_the_same(peer: Peer) -> None:
    """A file name may hold bytes that are no UTF-8."""
    manager = manager_of(peer)
    manager.tell(moment(Stage.READY, "can't read caf\udce9.toml"))

    assert ["READY=1\nSTATUS=can't read caf?.toml"] == peer.read()
