"""The supervisor's loop: what happens goes into one inbox, decisions come out, effects are performed.

Runs in: supervisor, main thread, on asyncio.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import signal
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from tornado_multi.control.server import ControlServer
from tornado_multi.process import messages as msg
from tornado_multi.process import scoreboard as sb
from tornado_multi.process.cgroups import worker_count
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.linux import BLOCKABLE_SIGNALS, become_child_subreaper
from tornado_multi.process.oom import OomWatch
from tornado_multi.settings.compare import take_over
from tornado_multi.settings.model import MAX_WORKERS, Settings, to_plain
from tornado_multi.supervisor import announcing
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.answers import Answers, Turns
from tornado_multi.supervisor.beats import NS_PER_S, SUSPENDED_S, Beats
from tornado_multi.supervisor.children import Children
from tornado_multi.supervisor.decide import initial_state, next_deadline_s, step
from tornado_multi.supervisor.hangs import HangReports
from tornado_multi.supervisor.listeners import ListenError
from tornado_multi.supervisor.service_manager import moment_of
from tornado_multi.supervisor.state import Limits, Phase, WorkerState
from tornado_multi.supervisor.watching import watch
from tornado_multi.supervisor.wording import worker_name

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tornado_multi.process.linux import ProcessEnd
    from tornado_multi.supervisor.listener_set import ListenerSet
    from tornado_multi.supervisor.report import Reporter
    from tornado_multi.supervisor.service_manager import ServiceManager
    from tornado_multi.supervisor.spawning import Spawner
    from tornado_multi.supervisor.state import Worker
    from tornado_multi.supervisor.status import Identity

STOP_SIGNALS = {signal.SIGTERM: False, signal.SIGINT: True, signal.SIGQUIT: True}
"""signal -> whether the stop is hurried"""
RESERVED_SIGNALS = (signal.SIGUSR2,)
"""Signals with a meaning to come: until then they must not end the service by their default."""
HANDLED_SIGNALS = {
    *STOP_SIGNALS,
    *RESERVED_SIGNALS,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGTTIN,
    signal.SIGTTOU,
}

FATAL_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}
)
"""At these faulthandler writes the stacks before the process ends by them."""


class Supervisor:
    """One service: its children, its state, its loop."""

    def __init__(
        self,
        settings: Settings,
        app_arguments: tuple[str, ...] | None,
        identity: Identity,
        *,
        reread: Callable[[], Settings],
        directory: str,
        listeners: ListenerSet,
        control_socket: socket.socket,
        reporter: Reporter,
        manager: ServiceManager,
        board: sb.Scoreboard,
        board_fd: int,
        spawner: Spawner,
        asked_workers: int | None = None,
    ) -> None:
        """Take what it needs to begin.

        Args: asked_workers: script mode: what the script gave ``fork_processes``.
        """
        self._settings = settings
        self._app_arguments = app_arguments
        self._identity = identity
        self._directory = directory
        self._listeners = listeners
        self._control_socket = control_socket
        self._reporter = reporter
        self._manager = manager
        self._spawner = spawner
        self._clock = time.monotonic
        self._reread = reread
        self._settings_before_reload = settings
        self._is_script = asked_workers is not None
        self._state = initial_state(
            asked_workers or worker_count(settings.workers.workers),
            self._limits(settings),
            asked_workers=asked_workers,
        )
        self._inbox: deque[ev.Event] = deque()
        self._in_turn = False
        self._timer: asyncio.TimerHandle | None = None
        self._notices_given: set[str] = set()
        self._turns = Turns()
        self._board, self._board_fd = board, board_fd
        self._app_nofile = _raise_nofile_limit()
        self._oom = OomWatch()
        # Made in run(), where the loop is.
        self._hangs: HangReports
        self._loop: asyncio.AbstractEventLoop
        self._children: Children
        self._finished: asyncio.Future[None]

    def note(self, sentences: list[str]) -> None:
        """Say what the user should know about the start."""
        for sentence in sentences:
            self._reporter.say(ev.Say("warning", "supervisor", sentence))

    async def run(self) -> int:
        """Serve until told to stop, and return the exit code."""
        self._loop = asyncio.get_running_loop()
        self._finished = self._loop.create_future()
        become_child_subreaper()
        setproctitle(f"tornado_multi: supervisor {self._identity.name}")
        self._children = Children(
            self._loop,
            self._spawner,
            on_zygote_message=self._zygote_said,
            on_worker_message=self._worker_said,
            on_zygote_end=self._zygote_ended,
            on_worker_end=self._worker_ended,
            on_fork_sent=lambda row: self._post(ev.ForkSent(row)),
            on_fork_dropped=lambda row: self._post(ev.ForkRefused(row, "no longer wanted")),
            on_hook_message=self._hook_said,
            on_hook_end=lambda number, end: self._post(ev.HookEnded(number, end)),
            on_peer_fault=self._peer_fault,
            on_tasks=lambda row, number: self._hangs.tasks_came(row, number),  # noqa: PLW0108 - made below
        )
        self._watch_signals()
        control = ControlServer(self._control_socket, self._answers().answer)
        await control.start()
        beats = Beats(self._board, self._state, self._children, post=self._post, clock=self._clock)
        self._hangs = HangReports(
            self._children, self._state, self._reporter, self._loop, self._clock
        )
        loop = "script" if self._is_script else self._settings.workers.loop
        self._announce("Starting.", announcing.starting(self._identity, loop))
        self._post(ev.Started())
        beats.look_from_now_on(self._loop)
        self._manager.keep_telling(self._loop, beats.youngest_age_s)
        watcher = self._start_watching()
        await self._finished
        # Nothing that comes from now on may cut the cleaning up short or change the exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
        if watcher is not None:
            watcher.cancel()
        self._listeners.close()
        self._manager.close()
        await control.close()
        return self._state.exit_code

    def _answers(self) -> Answers:
        return Answers(
            self._identity,
            self._state,
            self._board,
            self._children,
            post=self._post,
            clock=self._clock,
            listeners=self._listeners,
            most_workers=self._most_workers(),
            turns=self._turns,
            finished=self._finished,
        )

    def _start_watching(self) -> asyncio.Task[None] | None:
        if not self._settings.environment.reload_on_change:
            return None
        text = f"Watching Python files below {self._directory}: a change is a reload."
        self._reporter.say(ev.Say("info", "supervisor", text))

        def on_change(path: str) -> None:
            self._post(ev.ReloadAsked(f"a change of {path}"))

        return self._loop.create_task(watch(self._directory, on_change))

    # --- inbox ------------------------------------------------------------------------------------

    def _post(self, event: ev.Event) -> None:
        """Put an event into the inbox and, unless a turn is under way, take the turn."""
        self._inbox.append(event)
        if self._in_turn:
            return
        self._in_turn = True
        try:
            while self._inbox:
                for effect in step(self._state, self._inbox.popleft(), self._clock()):
                    self._perform_safely(effect)
        finally:
            self._in_turn = False
        self._manager.tell(moment_of(self._state, self._identity.app))
        self._arm_timer()
        self._turns.ended()

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_s = next_deadline_s(self._state)
        if deadline_s is not None:
            # The loop's clock is time.monotonic too. A hair later, so that it has really passed.
            due_s = deadline_s + 0.001
            self._timer = self._loop.call_at(due_s, self._deadline_came, due_s)

    def _deadline_came(self, due_s: float) -> None:
        late_s = self._clock() - due_s
        if late_s > SUSPENDED_S:
            # Others may have been ready for long: hear them before anybody is killed.
            self._post(ev.Suspended(late_s))
        else:
            self._post(ev.DeadlinePassed())

    def _perform_safely(self, effect: ev.Effect) -> None:
        """Perform one effect; a mistake of ours in it must not keep the others from happening."""
        try:
            self._perform(effect)
        except Exception:  # noqa: BLE001 - see above
            text = f"[BUG] {effect} failed:\n{traceback.format_exc()}"
            self._reporter.say(ev.Say("error", "supervisor", text))

    def _perform(self, effect: ev.Effect) -> None:  # noqa: C901, PLR0912, PLR0915 - one explicit dispatch
        match effect:
            case ev.StartZygote(generation):
                self._start_zygote(generation)
            case ev.ReleaseZygote(generation):
                self._children.release_zygote(generation)
            case ev.KillZygote(generation):
                self._children.kill_zygote(generation)
            case ev.ForkWorker(generation, row, fork_id, is_canary):
                self._board.clear_row(row)
                self._fork_worker(generation, row, fork_id, is_canary=is_canary)
            case ev.ReadSettings():
                self._read_settings()
            case ev.RestoreSettings():
                self._settings = self._settings_before_reload
            case ev.DrainWorker(row, timeout_s, empty_queue):
                worker = self._state.workers.get(row)
                is_starting = worker is not None and worker.state is WorkerState.STARTING
                is_deaf = self._is_script and is_starting
                command = msg.Drain(timeout_s, empty_queue)
                self._children.drain_worker(row, command, is_deaf=is_deaf)
            case ev.TellReadiness(row, wants_requests):
                self._children.tell_worker(row, msg.Readiness(wants_requests))
            case ev.RefuseConnections(fork_id):
                self._listeners.refuse(fork_id)
            case ev.SuspendListener(fork_id):
                self._listeners.suspend(fork_id)
            case ev.CloseListeners(fork_id):
                self._listeners.shut(fork_id)
            case ev.KillWorker(row):
                self._children.kill_worker(row)
            case ev.AbortWorker(row):
                self._children.abort_worker(row)
            case ev.ReportHang():
                self._hangs.report(effect)
            case ev.ForgetWorker(row):
                self._children.forget_worker(row)
            case ev.CallHook(generation, number, hook, report):
                self._call_hook(generation, msg.CallHook(number, hook, report))
            case ev.KillHook(number):
                self._children.kill_hook(number)
            case ev.ForgetHook(number):
                self._children.forget_hook(number)
            case ev.SettleListeners(generation):
                self._listeners.settle(generation)
            case ev.ReopenLogs():
                self._children.reopen_logs()
            case ev.Say():
                self._reporter.say(effect)
            case ev.AnnounceReady():
                addresses = self._listeners.addresses()
                mode = self._settings.safety.fork_safety
                block = announcing.ready(self._identity, self._state, addresses, mode)
                self._announce("Ready.", block)
            case ev.Finish():
                self._finish()

    def _fork_worker(self, generation: int, row: int, fork_id: int, *, is_canary: bool) -> None:
        try:
            own = self._listeners.own(fork_id)
            address, sock = ("", None) if own is None else (own.address, own.sock)
            command = msg.Fork(row, fork_id, is_canary, address)
            self._children.fork_worker(generation, command, sock)
        except ListenError as error:
            self._post(ev.ForkRefused(row, str(error).removesuffix(".")))
        except OSError as error:  # no descriptors left for its channel
            self._post(ev.ForkRefused(row, error.strerror or str(error)))

    def _announce(self, event: str, block: announcing.Block) -> None:
        lines, facts = block
        self._reporter.block(lines, event, facts)

    def _start_zygote(self, generation: int) -> None:
        boot = msg.Boot(
            generation=generation,
            supervisor_pid=os.getpid(),
            scoreboard_fd=self._board_fd,
            listeners=self._listeners.shared(),
            directory=self._directory,
            settings=to_plain(self._settings_with_log_paths()),
            app_arguments=self._app_arguments,
            nofile_limit=self._app_nofile,
        )
        try:
            pid = self._children.start_zygote(boot)
        except (OSError, ValueError) as error:
            self._post(ev.ZygoteRefused(generation, str(error)))
        else:
            self._post(ev.ZygoteSpawned(generation, pid))

    def _settings_with_log_paths(self) -> Settings:
        """Return the settings with the log files' paths as a process in any directory finds them."""
        logs = self._identity.logs
        logging = dataclasses.replace(
            self._settings.logging, log_dir=logs.directory, log_file=logs.file
        )
        return dataclasses.replace(self._settings, logging=logging)

    def _call_hook(self, generation: int, command: msg.CallHook) -> None:
        try:
            asked = self._children.call_hook(generation, command)
        except OSError as error:
            self._post(ev.HookRefused(command.number, error.strerror or str(error)))
        else:
            if not asked:
                self._post(ev.HookRefused(command.number, "its zygote is gone"))

    def _read_settings(self) -> None:
        """Read the settings anew; what the next generation gets is kept for its boot."""
        self._settings_before_reload = self._settings
        try:
            read = self._reread()
        except Exception as error:  # noqa: BLE001 - whatever a file may hold fails this reload only
            self._post(ev.SettingsRefused(f"The settings can't be read: {error}"))
            return
        asked_before = self._settings.workers.workers
        self._settings, notes = take_over(self._settings, read)
        asked = self._settings.workers.workers
        changed = asked != asked_before and not self._is_script  # a script says it by itself
        desired = worker_count(asked) if changed else None
        try:
            self._listeners.open_for(range(desired or 0))
        except ListenError as error:
            self._post(ev.SettingsRefused(str(error)))
            return
        self._post(ev.SettingsRead(self._limits(self._settings), desired, tuple(notes)))

    def _finish(self) -> None:
        if self._state.failure is not None:
            failure = self._state.failure
            self._reporter.failure(failure.reason, failure.detail, failure.death)
        else:
            self._reporter.say(ev.Say("info", "supervisor", "Stopped."))
        if not self._finished.done():
            self._finished.set_result(None)

    def _limits(self, settings: Settings) -> Limits:
        """Return what decisions need of the settings."""
        return Limits(
            boot_timeout_s=settings.workers.boot_timeout_s,
            drain_timeout_s=settings.workers.drain_timeout_s,
            max_surge=settings.workers.max_surge,
            max_unavailable=settings.workers.max_unavailable,
            drain_delay_s=settings.workers.drain_delay_s,
            hook_timeout_s=settings.hooks.hook_timeout_s,
            hang_warn_s=settings.health.hang_warn_s,
            hang_timeout_s=settings.health.hang_timeout_s,
            respawns_per_min=settings.health.respawns_per_min,
            is_script=self._is_script,
            has_own_listeners=settings.instances.is_asked,
        )

    # --- what happens -----------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKABLE_SIGNALS)  # as we may have been started
        for number, hurried in STOP_SIGNALS.items():
            event = ev.StopAsked(int(number), hurried)
            self._loop.add_signal_handler(number, self._post, event)
        self._loop.add_signal_handler(signal.SIGHUP, self._post, ev.ReloadAsked("SIGHUP"))
        self._loop.add_signal_handler(signal.SIGUSR1, self._post, ev.ReopenAsked())
        self._loop.add_signal_handler(signal.SIGTTIN, self._scale_by, +1)
        self._loop.add_signal_handler(signal.SIGTTOU, self._scale_by, -1)
        for number in RESERVED_SIGNALS:
            # A handler that does nothing, not SIG_IGN, which the app's children would inherit.
            self._loop.add_signal_handler(number, lambda: None)
        self._loop.add_signal_handler(signal.SIGCHLD, self._children.reap_strangers)

    def _scale_by(self, difference: int) -> None:
        state = self._state
        wanted = state.desired_workers + difference
        if state.phase not in {Phase.BOOTING, Phase.SERVING} or state.stop_due_s is not None:
            return  # a listener opened now would have nobody who takes from it
        if not 1 <= wanted <= self._most_workers():
            return
        try:
            self._listeners.open_for(range(wanted))
        except ListenError as error:
            self._reporter.say(ev.Say("error", "supervisor", str(error)))
        else:
            self._post(ev.ScaleAsked(wanted))

    def _most_workers(self) -> int:
        instances = self._settings.instances
        return instances.most_instances() if instances.is_asked else MAX_WORKERS

    def _zygote_said(self, generation: int, message: msg.Message, fds: tuple[int, ...]) -> None:
        match message:
            case msg.Bound(key):
                for fd in fds:
                    self._listeners.add(fd, key)
            case msg.Loaded(import_s, hooks, workers, keys):
                self._listeners.claim(generation, keys)
                self._reporter.pass_on(self._spawner.take_output(generation))
                self._post(ev.ZygoteLoaded(generation, import_s, hooks, workers))
            case msg.Audited():
                self._post(ev.ZygoteAudited(generation, message.plain()))
            case msg.LoadFailed(reason, detail, usage):
                self._post(ev.ZygoteLoadFailed(generation, reason, detail, usage))
            case msg.Forked(row, pid):
                self._post(ev.WorkerForked(row, pid))
            case msg.ForkFailed(row, reason):
                self._post(ev.ForkRefused(row, reason))
            case msg.HookForked(number, pid):
                self._post(ev.HookForked(number, pid))
            case msg.HookRefused(number, reason):
                self._post(ev.HookRefused(number, reason))
            case msg.HookFailed(hook, reason, detail):
                who = f"zygote gen={generation}"
                self._post(ev.HookFailed(who, generation, hook, reason, detail))
            case msg.Notice(key, text):
                self._notice(key, text, "supervisor")
            case _:
                self._peer_fault(f"zygote gen={generation}", f"sent {type(message).__name__}")

    def _zygote_ended(self, generation: int, end: ProcessEnd) -> None:
        self._post(ev.ZygoteEnded(generation, end, self._spawner.take_output(generation)))

    def _worker_said(self, row: int, message: msg.Message) -> None:
        match message:
            case msg.Ready():
                self._post(ev.WorkerReady(row))
            case msg.BootFailed(reason, detail):
                self._post(ev.WorkerBootFailed(row, reason, detail))
            case msg.Worn(reason):
                self._post(ev.WorkerWorn(row, reason))
            case msg.Draining():
                self._post(ev.WorkerDraining(row))
            case msg.Ending(reason, detail):
                self._post(ev.WorkerEnding(row, reason, detail))
            case msg.Drained():
                self._post(ev.WorkerDrained(row, message))
            case msg.HookFailed(hook, reason, detail):
                if worker := self._state.workers.get(row):
                    who = self._name(worker)
                    self._post(ev.HookFailed(who, worker.generation, hook, reason, detail))
            case msg.Notice(key, text):
                worker = self._state.workers.get(row)
                self._notice(key, text, "supervisor" if worker is None else self._name(worker))
            case _:
                self._peer_fault(f"worker row={row}", f"sent {type(message).__name__}")

    def _name(self, worker: Worker) -> str:
        # It may speak before the zygote announces it; its pid is in its row by then.
        pid = self._board.row(worker.row).load(sb.PID)
        return worker_name(dataclasses.replace(worker, pid=pid))

    def _hook_said(self, number: int, message: msg.Message) -> None:
        match message:
            case msg.HookFailed(hook, reason, detail):
                self._post(ev.HookFailed("supervisor", None, hook, reason, detail, number))
            case _:
                self._peer_fault(f"hook {number}", f"sent {type(message).__name__}")

    def _worker_ended(
        self, row: int, end: ProcessEnd, route_names: dict[int, str], stacks: str | None
    ) -> None:
        fields = self._board.row(row)
        beat_ns = fields.load(sb.BEAT_NS)
        worker = self._state.workers.get(row)
        is_unexplained = worker is None or worker.kill_reason is None
        oom = None
        if end.signal_number == signal.SIGKILL and is_unexplained:
            oom = self._oom.evidence_for(None if worker is None else worker.pid)
        # Children that the app forks write into the same file.
        are_own = end.signal_number in FATAL_SIGNALS or (worker is not None and worker.is_aborted)
        self._post(
            ev.WorkerEnded(
                row,
                end,
                fields.load(sb.REQUESTS),
                fields.load(sb.IN_FLIGHT),
                route_names.get(fields.load(sb.ROUTE_ID)),
                lag_s=fields.load(sb.LAG_NS) / NS_PER_S if beat_ns else None,
                beat_age_s=max(0.0, self._clock() - beat_ns / NS_PER_S) if beat_ns else None,
                pss_bytes=fields.load(sb.PSS_BYTES) or None,
                oom=oom,
                stacks=stacks if are_own else None,
            )
        )

    def _notice(self, key: str, text: str, who: str) -> None:
        if key not in self._notices_given:
            self._notices_given.add(key)
            self._reporter.say(ev.Say("warning", who, text))

    def _peer_fault(self, who: str, what: str) -> None:
        text = f"[BUG] It broke the protocol between our own processes: {what}"
        self._reporter.say(ev.Say("error", who, text))


def _raise_nofile_limit() -> int | None:
    """Raise our soft limit of open files to the hard one; return the old one for the app."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def serve(supervisor: Supervisor) -> int:
    """Run the supervisor to its end. Returns the exit code.

    Always on asyncio's own loop: a script may have installed a policy for its workers' loops.
    """
    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(supervisor.run())
    except KeyboardInterrupt:  # before our handler stood
        return int(ExitCode.DONE)
