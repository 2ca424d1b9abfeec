"""The supervisor's handles on its children: processes, pidfds, channels. The edge of ``run``.

Known children are watched and collected by pidfd. Everything else that becomes our child (we are a
subreaper) is a stranger: found by a peek that collects nothing, and collected only if no fork is
outstanding, since a worker may die before its pid is announced, and its status must not be lost.
Runs in: supervisor, main thread (parent-death signals are bound to the thread that spawns).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tornado_multi.process import messages as msg
from tornado_multi.process.channel import Channel, ChannelClosed
from tornado_multi.process.linux import STACKS_SIGNAL, peek_ended_child, reap_pid, reap_pidfd
from tornado_multi.process.messages import RemoteProtocolError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from tornado_multi.process.linux import ProcessEnd
    from tornado_multi.process.messages import Message
    from tornado_multi.supervisor.spawning import Spawner

MOST_STACKS_BYTES = 1024 * 1024
WATCHDOG_FILE = "/tornado_multi/worker/watchdog.py"


READY_FDS = 2
"""What comes with Ready: the file for stacks, and a channel to the watchdog."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command to fork, and what goes with it to the new process."""

    command: msg.Fork | msg.CallHook
    channel: Channel
    """The new process's end."""
    listener: socket.socket | None = None
    """An instance's own; a copy."""

    def send(self, to: Channel) -> None:
        fds = [self.channel.fileno()]
        if self.listener is not None:
            fds.append(self.listener.fileno())
        to.send(self.command, tuple(fds))

    def close(self) -> None:
        """Let go of our copies, sent or not."""
        self.channel.close()
        if self.listener is not None:
            self.listener.close()


@dataclass(slots=True)
class ZygoteHandle:
    """One zygote process."""

    generation: int
    pid: int
    pidfd: int
    channel: Channel | None
    waiting: deque[Waiting] = field(default_factory=deque)
    """Commands to fork: one is under way at a time."""
    is_forking: bool = False


@dataclass(slots=True)
class WorkerHandle:
    """One worker process: known by its channel first, by its pid when the zygote announced it."""

    row: int
    channel: Channel | None
    pid: int | None = None
    pidfd: int | None = None
    route_names: dict[int, str] = field(default_factory=dict)
    resources: tuple[dict[str, Any], ...] = ()
    """What exists in it, as status shows it."""
    slow_steps: dict[str, tuple[int, float]] = field(default_factory=dict)
    """handler -> how often it has held up the loop, and for how long at most in seconds"""
    stacks_fd: int | None = None
    """Memory file into which the worker writes its main thread's stack on STACKS_SIGNAL."""
    watchdog: Channel | None = None
    """To the thread of the worker that answers while its loop is blocked."""
    told: msg.Tasks = field(default_factory=lambda: msg.Tasks(0, ""))
    """The last answer of the watchdog."""


@dataclass(slots=True)
class HookHandle:
    """One process that calls a hook: known by its channel first, as a worker is."""

    number: int
    channel: Channel | None
    pid: int | None = None
    pidfd: int | None = None


@dataclass(frozen=True, slots=True)
class Stacks:
    """What a worker is doing, as text."""

    main: str
    """Of its main thread; empty while it is not written."""
    others: str | None = None
    """Of its other threads; None while the interpreter's lock is not free to look."""
    tasks: str | None = None
    """Of its asyncio tasks; None likewise."""

    @property
    def threads(self) -> str:
        return "\n\n".join(filter(None, (self.main, self.others)))

    @property
    def is_whole(self) -> bool:
        return bool(self.main) and self.tasks is not None


def last_stacks(text: str) -> str | None:
    """Return what faulthandler has written at a fatal signal; None: there was none.

    The current thread, which matters most and which it writes last, comes first; ours, which waits
    in every report, is left out. Where another thread ran on, and made it crash before it came to
    the current one, the stack of the last report has to do.
    Args: text: all that is in the file, in the order in which it was written.
    """
    asked_for, found, rest = text.partition("Fatal Python error")
    if not found:
        return None
    blocks = [part for part in f"{found}{rest}".rstrip().split("\n\n") if WATCHDOG_FILE not in part]
    if not any(block.startswith("Current thread") for block in blocks) and asked_for:
        blocks.append(f"When it was last asked:\n{main_stack(asked_for)}")
    return "\n\n".join(sorted(blocks, key=_place_of_block))


def _place_of_block(block: str) -> int:
    return 0 if block.startswith("Fatal") else 1 if block.startswith("Current thread") else 2


def main_stack(text: str) -> str:
    """Return what faulthandler has written on STACKS_SIGNAL, with the name of the thread."""
    return text.rstrip().replace("Stack (most recent", "Main thread (most recent", 1)


class Children:
    """Spawns, signals, hears and collects children; tells what happened by callbacks."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        spawner: Spawner,
        *,
        on_zygote_message: Callable[[int, Message, tuple[int, ...]], None],
        on_worker_message: Callable[[int, Message], None],
        on_zygote_end: Callable[[int, ProcessEnd], None],
        on_worker_end: Callable[[int, ProcessEnd, dict[int, str], str | None], None],
        on_fork_sent: Callable[[int], None],
        on_fork_dropped: Callable[[int], None],
        on_hook_message: Callable[[int, Message], None],
        on_hook_end: Callable[[int, ProcessEnd], None],
        on_peer_fault: Callable[[str, str], None],
        on_tasks: Callable[[int, int], None],
    ) -> None:
        self._loop = loop
        self._spawner = spawner
        self._on_zygote_message = on_zygote_message
        self._on_worker_message = on_worker_message
        self._on_zygote_end = on_zygote_end
        self._on_worker_end = on_worker_end
        self._on_fork_sent = on_fork_sent
        self._on_fork_dropped = on_fork_dropped
        self._on_hook_message = on_hook_message
        self._on_hook_end = on_hook_end
        self._on_peer_fault = on_peer_fault
        self._on_tasks = on_tasks
        self.zygotes: dict[int, ZygoteHandle] = {}
        """generation -> handle"""
        self.workers: dict[int, WorkerHandle] = {}
        """row -> handle"""
        self.hooks: dict[int, HookHandle] = {}
        """number of the call -> handle"""
        self._known_pids: dict[int, Callable[[], None]] = {}
        """pid -> what collects its end"""
        self.strangers_reaped = 0
        self._stack_requests = 0

    # --- zygotes ----------------------------------------------------------------------------------

    def start_zygote(self, boot: msg.Boot) -> int:
        """Start a zygote and send it *boot*. Returns the pid.

        Raises: OSError: the system refused. ValueError: the boot message is too large.
        """
        pid, ours = self._spawner.spawn(boot)
        ours.set_blocking(False)
        pidfd = os.pidfd_open(pid)
        handle = ZygoteHandle(boot.generation, pid, pidfd, ours)
        self.zygotes[boot.generation] = handle
        self._known_pids[pid] = lambda: self._collect_zygote(handle)
        self._loop.add_reader(pidfd, self._collect_zygote, handle)
        self._loop.add_reader(ours.fileno(), self._hear_zygote, handle)
        return pid

    def release_zygote(self, generation: int) -> None:
        """Let it leave: it reads end of file, while its last words still reach us."""
        handle = self.zygotes.get(generation)
        if handle is None or handle.channel is None:
            return
        while handle.waiting:
            waiting = handle.waiting.popleft()
            if isinstance(waiting.command, msg.CallHook):
                with contextlib.suppress(ChannelClosed, BlockingIOError):
                    waiting.send(handle.channel)
            waiting.close()
        handle.channel.finish_sending()

    def kill_zygote(self, generation: int) -> None:
        if handle := self.zygotes.get(generation):
            signal.pidfd_send_signal(handle.pidfd, signal.SIGKILL)

    def _hear_zygote(self, handle: ZygoteHandle) -> None:
        try:
            while handle.channel is not None and (received := handle.channel.receive()):
                match received.message:
                    case msg.Forked(row, pid):
                        self._adopt_worker(handle, row, pid)
                    case msg.HookForked(number, pid):
                        self._adopt_hook(handle, number, pid)
                    case msg.ForkFailed() | msg.HookRefused():
                        handle.is_forking = False
                self._on_zygote_message(handle.generation, received.message, received.fds)
                self._send_next_fork(handle)
        except ChannelClosed:
            self._drop_zygote_channel(handle)
        except RemoteProtocolError as error:
            self._on_peer_fault(f"zygote gen={handle.generation}", str(error))
            self._drop_zygote_channel(handle)
            self.kill_zygote(handle.generation)

    def _drop_zygote_channel(self, handle: ZygoteHandle) -> None:
        if handle.channel is not None:
            self._loop.remove_reader(handle.channel.fileno())
            handle.channel.close()
            handle.channel = None
        while handle.waiting:
            handle.waiting.popleft().close()

    def _collect_zygote(self, handle: ZygoteHandle) -> None:
        if self.zygotes.get(handle.generation) is not handle:
            return
        end = reap_pidfd(handle.pidfd)
        if end is None:
            return
        # What it said before it died comes first.
        self._hear_zygote(handle)
        self._drop_zygote_channel(handle)
        self._loop.remove_reader(handle.pidfd)
        os.close(handle.pidfd)
        del self._known_pids[handle.pid]
        del self.zygotes[handle.generation]
        self._on_zygote_end(handle.generation, end)
        self.reap_strangers()

    # --- workers ----------------------------------------------------------------------------------

    def fork_worker(
        self, generation: int, command: msg.Fork, own_listener: socket.socket | None = None
    ) -> None:
        """Ask the zygote for a worker; it holds one end of a new channel, we the other.

        Args: own_listener: of an instance; it gets a copy.
        """
        ours, theirs = Channel.pair()
        ours.set_blocking(False)
        worker = WorkerHandle(command.row, ours)
        self.workers[command.row] = worker
        self._loop.add_reader(ours.fileno(), self._hear_worker, worker)
        handle = self.zygotes.get(generation)
        if handle is None or handle.channel is None:
            theirs.close()  # its end is on the way and will say so
            return
        copy = None if own_listener is None else own_listener.dup()
        handle.waiting.append(Waiting(command, theirs, copy))
        self._send_next_fork(handle)

    def _send_next_fork(self, handle: ZygoteHandle) -> None:
        if handle.is_forking or not handle.waiting or handle.channel is None:
            return
        waiting = handle.waiting.popleft()
        handle.is_forking = True
        try:
            waiting.send(handle.channel)
            if isinstance(waiting.command, msg.Fork):
                self._on_fork_sent(waiting.command.row)
        except (ChannelClosed, BlockingIOError):
            # It is dying or stuck: its end, or the new process's deadline, brings things forward.
            handle.is_forking = False
        finally:
            waiting.close()

    def _adopt_worker(self, handle: ZygoteHandle, row: int, pid: int) -> None:
        handle.is_forking = False
        worker = self.workers.get(row)
        if worker is None or worker.pid is not None:
            return
        try:
            worker.pidfd = os.pidfd_open(pid)  # exact: nobody but us could have collected it
        except OSError as error:  # no descriptors left: we can't look after it
            self._on_peer_fault(f"worker row={row} pid={pid}", f"can't be watched: {error}")
            os.kill(pid, signal.SIGKILL)  # our child, not collected: the pid is surely its own
            self.forget_worker(row)
            self._on_fork_dropped(row)
            return
        worker.pid = pid
        self._known_pids[pid] = lambda: self._collect_worker(worker)
        self._loop.add_reader(worker.pidfd, self._collect_worker, worker)
        self._loop.call_soon(self.reap_strangers)

    def drain_worker(self, row: int, command: msg.Drain, *, is_deaf: bool = False) -> None:
        """Tell a worker to leave; one that can't be told so is told by TERM, which means the same.

        Args: is_deaf: it has no loop yet that would hear the message (a script that starts).
        """
        worker = self.workers.get(row)
        if worker is None or self._drop_waiting_fork(row):
            return
        try:
            if worker.channel is not None:
                worker.channel.send(command)
                if not is_deaf:
                    return
        except (ChannelClosed, BlockingIOError):
            pass
        if worker.pidfd is not None:
            signal.pidfd_send_signal(worker.pidfd, signal.SIGTERM)

    def tell_worker(self, row: int, message: msg.Readiness) -> None:
        """Send what may get lost: a worker that can't be told so is on its way out."""
        worker = self.workers.get(row)
        if worker is not None and worker.channel is not None:
            with contextlib.suppress(ChannelClosed, BlockingIOError):
                worker.channel.send(message)

    def _drop_waiting_fork(self, row: int) -> bool:
        """Take back a Fork command that was not sent yet. Returns whether there was one."""
        for handle in self.zygotes.values():
            for entry in handle.waiting:
                if isinstance(entry.command, msg.Fork) and entry.command.row == row:
                    handle.waiting.remove(entry)
                    entry.close()
                    self._on_fork_dropped(row)
                    return True
        return False

    def kill_worker(self, row: int) -> None:
        worker = self.workers.get(row)
        if worker is not None and worker.pidfd is not None:
            signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)

    def abort_worker(self, row: int) -> None:
        """Send ABRT: the worker writes its stacks beneath Python, and ends."""
        worker = self.workers.get(row)
        if worker is not None and worker.pidfd is not None:
            signal.pidfd_send_signal(worker.pidfd, signal.SIGABRT)

    def route_name(self, row: int, route_id: int) -> str | None:
        """Return the name of a route number in a worker's row; None: nothing is in flight."""
        worker = self.workers.get(row)
        return None if worker is None else worker.route_names.get(route_id)

    def forget_worker(self, row: int) -> None:
        """Close the channel of a worker that was never announced."""
        if worker := self.workers.pop(row, None):
            self._drop_worker_channel(worker)
            self._drop_ready_fds(worker)

    def _hear_worker(self, worker: WorkerHandle) -> None:
        try:
            while worker.channel is not None and (received := worker.channel.receive()):
                match received.message:
                    case msg.RouteNamed(route_id, name):
                        worker.route_names[route_id] = name
                    case msg.Resources(resources):
                        worker.resources = resources
                    case msg.SlowSteps(handler, count, longest_s):
                        worker.slow_steps[handler] = (count, longest_s)
                    case message:
                        if isinstance(message, msg.Ready) and len(received.fds) == READY_FDS:
                            self._take_ready_fds(worker, *received.fds)
                        self._on_worker_message(worker.row, message)
        except ChannelClosed:
            self._drop_worker_channel(worker)
        except RemoteProtocolError as error:
            self._on_peer_fault(f"worker row={worker.row} pid={worker.pid}", str(error))
            self._drop_worker_channel(worker)  # it reads end of file and leaves

    # --- logs -------------------------------------------------------------------------------------

    def reopen_logs(self) -> None:
        """Tell every zygote and worker to open its log files anew.

        One that has left too many messages lie does without: it looks before each record anyway.
        """
        channels = [zygote.channel for zygote in self.zygotes.values()]
        channels += [worker.channel for worker in self.workers.values()]
        for channel in channels:
            if channel is not None:
                with contextlib.suppress(ChannelClosed, BlockingIOError):
                    channel.send(msg.ReopenLogs())

    # --- stacks -----------------------------------------------------------------------------------

    def ask_for_stacks(self, row: int) -> int:
        """Have a worker write its main stack, and list the rest. Returns the request's number."""
        worker = self.workers[row]
        self._stack_requests += 1
        if worker.stacks_fd is not None and worker.pidfd is not None:
            os.ftruncate(worker.stacks_fd, 0)
            os.lseek(worker.stacks_fd, 0, os.SEEK_SET)  # the worker writes at this shared offset
            signal.pidfd_send_signal(worker.pidfd, STACKS_SIGNAL)
        if worker.watchdog is not None:
            with contextlib.suppress(ChannelClosed, BlockingIOError):
                worker.watchdog.send(msg.ListTasks(self._stack_requests))
        return self._stack_requests

    def stacks(self, row: int, number: int) -> Stacks:
        """Return what a worker has told by now at the request with this number."""
        worker = self.workers.get(row)
        if worker is None:
            return Stacks("", "", "")  # it has ended meanwhile
        main = main_stack(self._read_stacks(worker))
        if worker.told.number != number:
            return Stacks(main)
        return Stacks(main, worker.told.threads.rstrip(), worker.told.text.rstrip())

    @staticmethod
    def _read_stacks(worker: WorkerHandle) -> str:
        if worker.stacks_fd is None:
            return ""
        # Its end: what was written last matters most.
        start = max(0, os.fstat(worker.stacks_fd).st_size - MOST_STACKS_BYTES)
        return os.pread(worker.stacks_fd, MOST_STACKS_BYTES, start).decode("utf-8", "replace")

    def _take_ready_fds(self, worker: WorkerHandle, stacks_fd: int, watchdog_fd: int) -> None:
        self._drop_ready_fds(worker)  # of a script's earlier loop
        worker.stacks_fd = stacks_fd
        worker.watchdog = Channel.from_fd(watchdog_fd)
        worker.watchdog.set_blocking(False)
        self._loop.add_reader(watchdog_fd, self._hear_watchdog, worker)

    def _hear_watchdog(self, worker: WorkerHandle) -> None:
        try:
            while worker.watchdog is not None and (received := worker.watchdog.receive()):
                if isinstance(received.message, msg.Tasks):
                    worker.told = received.message
                    self._on_tasks(worker.row, received.message.number)
        except (ChannelClosed, RemoteProtocolError):
            self._drop_watchdog(worker)

    def _drop_watchdog(self, worker: WorkerHandle) -> None:
        if worker.watchdog is not None:
            self._loop.remove_reader(worker.watchdog.fileno())
            worker.watchdog.close()
            worker.watchdog = None

    def _drop_ready_fds(self, worker: WorkerHandle) -> None:
        self._drop_watchdog(worker)
        if worker.stacks_fd is not None:
            os.close(worker.stacks_fd)
            worker.stacks_fd = None

    def _drop_worker_channel(self, worker: WorkerHandle) -> None:
        # The file for stacks stays: its last words are read when its end is collected.
        self._drop_watchdog(worker)
        if worker.channel is not None:
            self._loop.remove_reader(worker.channel.fileno())
            worker.channel.close()
            worker.channel = None

    def _collect_worker(self, worker: WorkerHandle) -> None:
        if worker.pidfd is None or worker.pid is None:
            return
        end = reap_pidfd(worker.pidfd)
        if end is None:
            return
        self._hear_worker(worker)  # its last words come before its death
        stacks = last_stacks(self._read_stacks(worker))
        self._drop_worker_channel(worker)
        self._drop_ready_fds(worker)
        self._loop.remove_reader(worker.pidfd)
        os.close(worker.pidfd)
        del self._known_pids[worker.pid]
        worker.pidfd = None
        if self.workers.get(worker.row) is worker:
            del self.workers[worker.row]
            self._on_worker_end(worker.row, end, worker.route_names, stacks)

    # --- hooks ------------------------------------------------------------------------------------

    def call_hook(self, generation: int, command: msg.CallHook) -> bool:
        """Ask the zygote for a process that calls a hook. Returns whether it can be asked.

        Raises: OSError: no descriptors are left for its channel.
        """
        zygote = self.zygotes.get(generation)
        if zygote is None or zygote.channel is None:
            return False
        ours, theirs = Channel.pair()
        ours.set_blocking(False)
        hook = HookHandle(command.number, ours)
        self.hooks[command.number] = hook
        self._loop.add_reader(ours.fileno(), self._hear_hook, hook)
        zygote.waiting.append(Waiting(command, theirs))
        self._send_next_fork(zygote)
        return True

    def kill_hook(self, number: int) -> None:
        hook = self.hooks.get(number)
        if hook is not None and hook.pidfd is not None:
            signal.pidfd_send_signal(hook.pidfd, signal.SIGKILL)

    def forget_hook(self, number: int) -> None:
        """Close the channel of a process that was never announced: it leaves by itself."""
        if hook := self.hooks.pop(number, None):
            self._drop_hook_channel(hook)

    def _adopt_hook(self, zygote: ZygoteHandle, number: int, pid: int) -> None:
        zygote.is_forking = False
        hook = self.hooks.get(number)
        if hook is None:
            return  # given up meanwhile: it ends as a stranger
        try:
            hook.pidfd = os.pidfd_open(pid)
        except OSError as error:
            self._on_peer_fault(f"hook pid={pid}", f"can't be watched: {error}")
            return  # as above
        hook.pid = pid
        self._known_pids[pid] = lambda: self._collect_hook(hook)
        self._loop.add_reader(hook.pidfd, self._collect_hook, hook)
        self._loop.call_soon(self.reap_strangers)

    def _hear_hook(self, hook: HookHandle) -> None:
        try:
            while hook.channel is not None and (received := hook.channel.receive()):
                self._on_hook_message(hook.number, received.message)
        except (ChannelClosed, RemoteProtocolError):
            self._drop_hook_channel(hook)

    def _drop_hook_channel(self, hook: HookHandle) -> None:
        if hook.channel is not None:
            self._loop.remove_reader(hook.channel.fileno())
            hook.channel.close()
            hook.channel = None

    def _collect_hook(self, hook: HookHandle) -> None:
        if hook.pidfd is None or hook.pid is None:
            return
        end = reap_pidfd(hook.pidfd)
        if end is None:
            return
        self._hear_hook(hook)  # its last words come before its end
        self._drop_hook_channel(hook)
        self._loop.remove_reader(hook.pidfd)
        os.close(hook.pidfd)
        del self._known_pids[hook.pid]
        hook.pidfd = None
        self.hooks.pop(hook.number, None)
        self._on_hook_end(hook.number, end)

    # --- strangers --------------------------------------------------------------------------------

    def reap_strangers(self) -> None:
        """Collect every child that has ended and that nobody announced or will announce."""
        while (pid := peek_ended_child()) is not None:
            collect = self._known_pids.get(pid)
            if collect is not None:
                collect()
                if pid in self._known_pids:
                    return  # not collected: leave it to its pidfd rather than spin
            elif any(handle.is_forking for handle in self.zygotes.values()):
                return  # it may be the worker that is about to be announced
            elif reap_pid(pid) is not None:
                self.strangers_reaped += 1
