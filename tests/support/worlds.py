"""A small world of processes that misbehave, for the supervisor's decisions. Seeded, no clock."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.histories import CRASHED, FAILED, KILLED, LEFT, LIMITS, TERMINATED
from tornado_multi.forksafety import findings
from tornado_multi.process.messages import Audited, Drained
from tornado_multi.process.scoreboard import MAX_ROWS
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import initial_state, next_deadline_s, step
from tornado_multi.supervisor.state import (
    Phase,
    ReloadStep,
    State,
    WorkerState,
    ZygoteState,
    from_plain,
    to_plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.process.linux import ProcessEnd

MOST_WORKERS = 5
DRAINED = Drained(0.1, 1, 1, 0, 0, 0)
TIMER_SLACK_S = 0.001
"""The loop's timer fires this much after a deadline."""


def audit() -> dict[str, Any]:
    """Return an audit with one finding, as a zygote sends it."""
    finding = findings.to_plain(findings.make_finding("thread", 'thread "poller" is running'))
    return Audited(1, 0, (finding,), 0, 0.01, "/srv").plain()


@dataclass(slots=True)
class FakeWorker:
    """A worker process; *mail* is its channel to the supervisor."""

    row: int
    announced: bool = False
    alive: bool = True
    ready: bool = False
    told: bool = False
    is_new: bool = False
    """Of a reload's generation."""
    stubborn: bool = False
    """It ignores Drain: only KILL ends it."""
    mail: deque[ev.Event] = field(default_factory=deque)


@dataclass(slots=True)
class FakeZygote:
    """A zygote process; *mail* is its channel to the supervisor, *waiting* the Forks in it."""

    generation: int
    alive: bool = True
    loaded: bool = False
    failed: bool = False
    released: bool = False
    stubborn: bool = False
    """It hangs, in its import or in a fork: only KILL ends it."""
    mail: deque[ev.Event] = field(default_factory=deque)
    waiting: deque[int] = field(default_factory=deque)
    """Rows whose Fork command the supervisor still holds: one is under way at a time."""
    forking: int | None = None


@dataclass(slots=True)
class FakeHook:
    """A process that calls a hook; it is asked for in its zygote's order, and dies with no word."""

    number: int
    generation: int
    announced: bool = False
    alive: bool = True
    mail: deque[ev.Event] = field(default_factory=deque)


class World:
    """Processes that do what real ones may do, driven by a seeded generator.

    As in ``supervisor.children``: what a process said arrives before its end does, messages of
    different processes cross, and the end of a worker is told only once it was announced.
    """

    def __init__(self, seed: int, *, calm_share: float = 0.8, commands: bool = True) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        workers = self.random.randint(1, MOST_WORKERS)
        self.is_script = self.random.random() < 0.2
        """Workers that return by themselves have finished, and a zygote says how many it wants."""
        self.limits = dataclasses.replace(
            LIMITS,
            is_script=self.is_script,
            has_own_listeners=not self.is_script and self.random.random() < 0.5,
            drain_delay_s=self.random.choice([0.0, 0.0, 5.0]),
            max_unavailable=self.random.choice(["0", "0", "1", "50%"]),
        )
        asked = workers if self.is_script else None
        self.state = initial_state(workers, self.limits, asked_workers=asked)
        self.listening = set(range(workers))
        """fork_ids of the instances whose own listener is open."""
        self.refusing: set[int] = set()
        """Those of them whose listener lets no connection begin."""
        self.inbox: deque[ev.Event] = deque()
        self.zygotes: dict[int, FakeZygote] = {}
        self.workers: dict[int, FakeWorker] = {}
        self.hooks: dict[int, FakeHook] = {}
        self.has_hooks = self.random.random() < 0.3
        self.calm = self.random.random() < calm_share
        """Nothing fails. Most histories boot well; the others have trouble from the first moment."""
        self.new_code_fails = 0.0
        """How often a step of a reload's generation fails, also when all else is calm."""
        self.time_passes = True
        """Deadlines may pass while somebody still has something to do or to say."""
        self.commands = commands
        """People ask for reloads, other numbers of workers, and restarts."""
        self.always: Callable[[World], None] = lambda _world: None
        """Checked after each step."""
        self.finishes = 0
        self.trace: list[tuple[float, ev.Event, list[ev.Effect]]] = []
        self.post(ev.Started())

    # --- the supervisor's side --------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        self.inbox.append(event)
        while self.inbox:
            event = self.inbox.popleft()
            rows_before = set(self.state.workers)
            effects = step(self.state, event, self.now_s)
            self.trace.append((self.now_s, event, effects))
            self.check(event, effects, rows_before)
            for effect in effects:
                self.perform(effect)

    def check(self, event: ev.Event, effects: list[ev.Effect], rows_before: set[int]) -> None:
        state = self.state
        self._check_effects(effects, rows_before)
        assert all(0 <= row < MAX_ROWS and row == state.workers[row].row for row in state.workers)
        self._check_doubles()
        assert state.phase is not Phase.FINISHED or not (
            state.workers or state.zygotes or state.hook_calls
        )
        if isinstance(event, ev.DeadlinePassed):
            deadline_s = next_deadline_s(state)
            assert deadline_s is None or deadline_s > self.now_s, "a passed deadline stays: a spin"
        if len(self.trace) % 30 == 0:
            assert state == from_plain(json.loads(json.dumps(to_plain(state))))
        self.always(self)

    def _check_effects(self, effects: list[ev.Effect], rows_before: set[int]) -> None:
        state = self.state
        for effect in effects:
            match effect:
                case ev.StartZygote(generation) | ev.ReleaseZygote(generation):
                    assert generation in state.zygotes, effect
                case ev.KillZygote(generation):
                    assert generation in state.zygotes, effect
                case ev.ForkWorker(generation, row, fork_id):
                    zygote, worker = state.zygotes[generation], state.workers[row]
                    assert zygote.state is ZygoteState.READY, effect
                    assert (fork_id, generation) == (worker.fork_id, worker.generation), effect
                    assert worker.deadline_s is not None, "a deadline is set before the fork"
                case ev.DrainWorker(row, _) | ev.KillWorker(row):
                    assert row in state.workers, effect
                case ev.ForgetWorker(row):
                    assert row in rows_before, effect
                case ev.CallHook(generation, number, hook):
                    assert hook in state.zygotes[generation].hooks, effect
                    assert state.hook_calls[number].deadline_s is not None, effect
                case ev.KillHook(number):
                    assert number in state.hook_calls, effect
                case ev.TellReadiness(row):
                    assert row in state.workers, effect
                case _:
                    self._check_listeners(effect)

    def _check_listeners(self, effect: ev.Effect) -> None:
        """Check what happens to the listener of one instance."""
        state = self.state
        match effect:
            case ev.RefuseConnections(int(fork_id)):
                assert fork_id not in state.places, effect
                assert not self._serves(fork_id), "somebody serves there for a while yet"
            case ev.SuspendListener(fork_id):
                assert fork_id in state.places, effect
                assert all(
                    worker.leaving for worker in state.workers.values() if worker.fork_id == fork_id
                ), "somebody serves there"
            case ev.CloseListeners(int(fork_id)):
                assert fork_id not in state.places, effect
                assert fork_id not in self._who_takes(), "a queue that somebody empties"

    def _serves(self, fork_id: int) -> bool:
        """Tell whether a worker serves there that is not leaving yet."""
        return any(
            worker.fork_id == fork_id and worker.state is WorkerState.READY and not worker.leaving
            for worker in self.state.workers.values()
        )

    def _who_takes(self) -> set[int]:
        """Return the fork_ids whose listener somebody accepts from, or will."""
        return {
            worker.fork_id
            for worker in self.state.workers.values()
            if worker.state is not WorkerState.DRAINING
        }

    def _check_doubles(self) -> None:
        """One worker that stays per fork_id; beside it, at most one that is to be replaced."""
        state, reload = self.state, self.state.reload
        canary = reload.generation if reload and reload.step is ReloadStep.CANARY else None
        staying = [
            item
            for item in state.workers.values()
            if not item.leaving and item.generation != canary
        ]
        wanted = [item.fork_id for item in staying if state.is_wanted(item)]
        assert len(wanted) == len(set(wanted)), "two workers that stay, for one fork_id"
        for fork_id in state.places:
            assert sum(item.fork_id == fork_id for item in staying) <= 2, f"a crowd at {fork_id}"
        idle = [
            item
            for item in state.zygotes.values()
            if not (item.released or item.kill_reason or item.failure)
        ]
        assert len(idle) <= (1 if reload is None else 2), "zygotes that nobody lets go"

    def perform(self, effect: ev.Effect) -> None:  # noqa: C901, PLR0912, PLR0915 - one explicit dispatch
        match effect:
            case ev.StartZygote(generation):
                if self.misfortune(0.05):
                    self.inbox.append(ev.ZygoteRefused(generation, "no process to be had"))
                    return
                stubborn = self.misfortune(0.1, is_new=self.is_of_reload(generation))
                self.zygotes[generation] = FakeZygote(generation, stubborn=stubborn)
                self.inbox.append(ev.ZygoteSpawned(generation, 100 + generation))
            case ev.ReleaseZygote(generation):
                if zygote := self.zygotes.get(generation):
                    zygote.released = True
                    zygote.waiting.clear()
            case ev.KillZygote(generation):
                if zygote := self.zygotes.get(generation):
                    self.end_zygote(zygote, KILLED)
            case ev.RefuseConnections(int(fork_id)) | ev.SuspendListener(fork_id):
                self.refusing.add(fork_id)
            case ev.CloseListeners(None):
                self.listening.clear()
            case ev.CloseListeners(int(fork_id)):
                self.listening.discard(fork_id)
                self.refusing.discard(fork_id)
            case ev.ForkWorker(generation, row, fork_id):
                self.listening.add(fork_id)
                self.refusing.discard(fork_id)
                is_new = self.is_of_reload(generation)
                stubborn = self.misfortune(0.1, is_new=is_new)
                self.workers[row] = FakeWorker(row, alive=False, is_new=is_new, stubborn=stubborn)
                if zygote := self.zygotes.get(generation):
                    zygote.waiting.append(row)
                    self.send_next_fork(zygote)
            case ev.DrainWorker(row, _):
                for zygote in self.zygotes.values():
                    if row in zygote.waiting:
                        zygote.waiting.remove(row)
                        self.inbox.append(ev.ForkRefused(row, "no longer wanted"))
                if (worker := self.workers.get(row)) and worker.alive:
                    worker.told = True
            case ev.KillWorker(row):
                if (worker := self.workers.get(row)) and worker.alive and worker.announced:
                    self.end_worker(worker, KILLED)
            case ev.ForgetWorker(row):
                self.workers.pop(row, None)  # if it lives, it reads end of file and leaves
            case ev.CallHook(generation, number):
                zygote = self.zygotes.get(generation)
                if zygote is None or not zygote.alive or self.misfortune(0.1):
                    self.inbox.append(ev.HookRefused(number, "no process to be had"))
                else:
                    hook = FakeHook(number, generation)
                    self.hooks[number] = hook
                    hook.mail.append(ev.HookForked(number, 5000 + number))
            case ev.KillHook(number):
                if hook := self.hooks.get(number):
                    self.end_hook(hook, KILLED)
            case ev.ForgetHook(number):
                self.hooks.pop(number, None)
            case ev.ReadSettings():
                self.inbox.append(self.settings_as_they_are())
            case ev.Finish():
                self.finishes += 1

    def send_next_fork(self, zygote: FakeZygote) -> None:
        if zygote.forking is None and zygote.waiting:
            row = zygote.waiting.popleft()
            if zygote.alive:  # else its channel is closed, and its end is on the way
                zygote.forking = row
                self.inbox.append(ev.ForkSent(row))

    # --- the processes' side ----------------------------------------------------------------------

    def misfortune(self, share: float, *, is_new: bool = False) -> bool:
        if is_new and self.random.random() < self.new_code_fails:
            return True
        return not self.calm and self.random.random() < share

    def is_of_reload(self, generation: int) -> bool:
        """Tell whether a generation is a reload's that can still fail."""
        reload = self.state.reload
        return reload is not None and generation > reload.base_generation

    def settings_as_they_are(self) -> ev.Event:
        if self.misfortune(0.1):
            return ev.SettingsRefused("broken")
        desired = self.random.choice([None, None, self.random.randint(1, MOST_WORKERS)])
        surge = self.random.choice(["0", "1", "25%", "100%"])
        if surge == "0" and self.limits.max_unavailable == "0":
            surge = "1"
        limits = dataclasses.replace(self.limits, max_surge=surge)
        desired = None if self.calm or self.is_script else desired
        self.listening |= set(range(desired or 0))
        return ev.SettingsRead(limits, desired, ("a note",))

    def end_zygote(self, zygote: FakeZygote, end: ProcessEnd) -> None:
        if zygote.alive:
            zygote.alive = False
            zygote.mail.append(ev.ZygoteEnded(zygote.generation, end))

    def end_worker(self, worker: FakeWorker, end: ProcessEnd) -> None:
        if worker.alive:
            worker.alive = False
            worker.mail.append(ev.WorkerEnded(worker.row, end, self.random.randint(0, 9)))

    def end_hook(self, hook: FakeHook, end: ProcessEnd) -> None:
        if hook.alive:
            hook.alive = False
            hook.mail.append(ev.HookEnded(hook.number, end))

    def hook_acts(self, hook: FakeHook) -> None:
        if not hook.alive or self.misfortune(0.3):  # it hangs: only KILL ends it
            return
        if self.misfortune(0.2):
            hook.mail.append(ev.HookFailed("supervisor", None, "on_reload", "no", "", hook.number))
        self.end_hook(hook, self.random.choice([LEFT, CRASHED]) if not self.calm else LEFT)

    def loaded(self, zygote: FakeZygote) -> ev.Event:
        hooks = ("on_worker_exit", "on_reload") if self.has_hooks else ()
        workers = self.state.asked_workers
        if self.is_script and not self.calm and self.random.random() < 0.3:
            workers = self.random.randint(1, MOST_WORKERS)
        return ev.ZygoteLoaded(zygote.generation, 0.1, hooks, workers)

    def zygote_acts(self, zygote: FakeZygote) -> None:
        if not zygote.alive:
            return
        if self.misfortune(0.1):
            self.end_zygote(zygote, self.random.choice([KILLED, CRASHED, FAILED, TERMINATED]))
        elif zygote.stubborn:
            return
        elif zygote.released or zygote.failed:
            self.end_zygote(zygote, LEFT)
        elif not zygote.loaded:
            if self.misfortune(0.15, is_new=self.is_of_reload(zygote.generation)):
                zygote.failed = True
                usage = self.misfortune(0.3)
                zygote.mail.append(ev.ZygoteLoadFailed(zygote.generation, "no", "", usage))
            else:
                zygote.loaded = True
                zygote.mail += [ev.ZygoteAudited(zygote.generation, audit()), self.loaded(zygote)]
        elif zygote.forking is not None and not zygote.mail:
            row, is_new = zygote.forking, self.is_of_reload(zygote.generation)
            if self.misfortune(0.1, is_new=is_new):
                zygote.mail.append(ev.ForkRefused(row, "no process to be had"))
            elif self.misfortune(0.05, is_new=is_new):
                zygote.stubborn = True
            else:
                if worker := self.workers.get(row):
                    worker.alive = True
                zygote.mail.append(ev.WorkerForked(row, 200 + row))

    def worker_acts(self, worker: FakeWorker) -> None:  # noqa: C901, PLR0912 - a branch per mishap
        if not worker.alive:
            return
        if self.misfortune(0.1):
            self.end_worker(worker, self.random.choice([KILLED, CRASHED, FAILED, LEFT, TERMINATED]))
        elif worker.stubborn:
            return
        elif worker.told or (worker.ready and self.misfortune(0.1)):  # a TERM from outside
            if worker.ready:
                worker.mail.append(ev.WorkerDraining(worker.row))
                worker.mail.append(ev.WorkerDrained(worker.row, DRAINED))
            worker.mail.append(ev.WorkerEnding(worker.row))
            if self.misfortune(0.1):
                worker.stubborn = True  # an exit handler that never returns
            else:
                self.end_worker(worker, LEFT)
        elif worker.ready and self.misfortune(0.05):  # it calls sys.exit
            worker.mail.append(ev.WorkerEnding(worker.row))
            worker.stubborn = True
        elif worker.ready and self.misfortune(0.05):  # its loop stops, for a while or for good
            age_s = self.random.choice([2.0, 40.0])
            worker.mail.append(ev.Looked((ev.Sample(worker.row, age_s, False, None),)))
            worker.stubborn = age_s > self.state.limits.hang_timeout_s
        elif worker.ready and self.misfortune(0.05):
            worker.mail.append(ev.WorkerWorn(worker.row, "it is old"))
        elif not worker.ready:
            if self.misfortune(0.1, is_new=worker.is_new):
                worker.mail.append(ev.WorkerBootFailed(worker.row, "no", ""))
                if not self.misfortune(0.2):
                    self.end_worker(worker, FAILED)
            else:
                worker.ready = True
                worker.mail.append(ev.WorkerReady(worker.row))

    def deliver(self, sender: FakeZygote | FakeWorker | FakeHook) -> None:
        if not sender.mail:
            return
        event = sender.mail[0]
        if isinstance(event, ev.WorkerEnded):
            assert isinstance(sender, FakeWorker)
            if not sender.announced:
                return  # nobody knows its pid yet
            self.workers.pop(sender.row)
        sender.mail.popleft()
        match event:
            case ev.WorkerForked(row, _):
                if worker := self.workers.get(row):
                    worker.announced = True
            case ev.ZygoteEnded(generation):
                del self.zygotes[generation]
            case ev.HookEnded(number):
                self.hooks.pop(number, None)
        if isinstance(sender, FakeZygote):
            if isinstance(event, ev.WorkerForked | ev.ForkRefused):
                sender.forking = None
            self.send_next_fork(sender)
        self.post(event)

    # --- time -------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let one thing happen, or let time pass up to the next deadline."""
        if self.commands and self.random.random() < 0.04:
            self.post(self.a_command())
        everybody = [*self.zygotes.values(), *self.workers.values(), *self.hooks.values()]
        choice = self.random.random()
        if everybody and (choice < 0.97 or not self.time_passes):
            one = self.random.choice(everybody)
            if self.random.random() < 0.5:
                self.deliver(one)
            else:
                self.let_act(one)
        elif choice < 0.985:
            self.pass_time()
        elif choice < 0.99:
            self.now_s += 100.0
            self.post(ev.Suspended(100.0))
        else:
            self.now_s += self.random.choice([0.01, 1.0, 20.0, 100.0])
            self.post(ev.DeadlinePassed())

    def let_act(self, one: FakeZygote | FakeWorker | FakeHook) -> None:
        match one:
            case FakeZygote():
                self.zygote_acts(one)
            case FakeWorker():
                self.worker_acts(one)
            case FakeHook():
                self.hook_acts(one)

    def a_command(self) -> ev.Event:
        match self.random.randrange(5):
            case 0:
                return ev.ReloadAsked("SIGHUP")
            case 1:
                wanted = self.random.randint(1, MOST_WORKERS)
                if self.state.phase in {Phase.BOOTING, Phase.SERVING}:
                    self.listening |= set(range(wanted))
                return ev.ScaleAsked(wanted)
            case 2:
                return ev.ReopenAsked()
            case 3:
                return ev.RestartGivenUp(self.random.randrange(MOST_WORKERS))
            case _:
                return ev.RestartAsked(self.random.randrange(MOST_WORKERS))

    def pass_time(self) -> None:
        deadline_s = next_deadline_s(self.state)
        if deadline_s is not None:
            self.now_s = max(self.now_s, deadline_s + TIMER_SLACK_S)
            self.post(ev.DeadlinePassed())

    def settle(self) -> None:
        """Let everybody act and be heard until nobody has anything to do or to say."""
        for _ in range(200):
            before = len(self.trace)
            for one in [*self.zygotes.values(), *self.workers.values(), *self.hooks.values()]:
                self.let_act(one)
                for _ in range(4):
                    self.deliver(one)
            if len(self.trace) == before:
                return
        raise AssertionError("the world does not settle")


def is_whole(state: State) -> bool:
    """Tell whether every fork_id is served by a worker that stays (or, in a script, has finished),
    and nothing is under way.
    """
    ready = {
        worker.fork_id
        for worker in state.workers.values()
        if worker.state is WorkerState.READY and not worker.leaving and state.is_wanted(worker)
    }
    ready |= {place.fork_id for place in state.places.values() if place.is_finished}
    return state.phase is Phase.SERVING and ready == set(state.places) and state.reload is None
