"""The life of a zygote: take the boot message, load the app, fork on command, leave at end of file.

Runs in: zygote.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle

from tornado_multi.loading import LoadError, enter_directory, load_target
from tornado_multi.process import messages as msg
from tornado_multi.process.assignment import Assignment
from tornado_multi.process.channel import Channel, ChannelClosed, Received
from tornado_multi.process.linux import die_with_parent_thread
from tornado_multi.process.scoreboard import Scoreboard
from tornado_multi.settings.model import from_plain
from tornado_multi.zygote.fork import fork_worker

if TYPE_CHECKING:
    from types import FrameType

    from tornado_multi.process.assignment import WorkerMain

IGNORED_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""A zygote leaves on command or at end of file; what people and terminals send is not for it."""


def ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN this is not inherited by programs that the app starts."""


def run_zygote(channel_fd: int, worker_main: WorkerMain) -> NoReturn:
    """Run the zygote to its end. Workers run *worker_main* and never come back here."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, ignore_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    os.set_inheritable(channel_fd, False)
    channel = Channel.from_fd(channel_fd)
    try:
        boot = _take_boot(channel)
        # Garbage collection before the fork would write to pages that workers could share.
        gc.disable()
        template = _load(boot, channel)
        if template is not None:
            _serve_forks(channel, template, worker_main)
    except ChannelClosed:
        pass  # the supervisor has gone, or wants us to leave
    _flush()
    os._exit(0)


def _take_boot(channel: Channel) -> msg.Boot:
    received = channel.receive()
    if received is None or not isinstance(received.message, msg.Boot):
        text = f"[BUG] the first message to a zygote was {received!r}"
        raise RuntimeError(text)
    boot = received.message
    die_with_parent_thread(signal.SIGKILL)
    if os.getppid() != boot.supervisor_pid:
        raise ChannelClosed  # it died before the call above could take hold
    setproctitle(f"tornado_multi: zygote gen {boot.generation} importing")
    if boot.nofile_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (boot.nofile_limit, hard))
    for fd in (boot.scoreboard_fd, *(listener.fd for listener in boot.listeners)):
        os.set_inheritable(fd, False)
    return boot


def _load(boot: msg.Boot, channel: Channel) -> Assignment | None:
    """Import the app; return what every assignment has in common, or None if it failed."""
    settings = from_plain(boot.settings)
    begun_s = time.monotonic()
    try:
        enter_directory(boot.directory)
        target = None
        if settings.workers.boot == "preload":
            target = load_target(settings.app, boot.app_arguments, boot.directory)
    except LoadError as error:
        with contextlib.suppress(ChannelClosed):
            channel.send(msg.LoadFailed(error.reason, error.detail, error.usage))
        return None
    import_s = time.monotonic() - begun_s
    if settings.workers.loop == "uvloop":
        # Once for all workers: 6 ms and 1.6 MB. Importing is safe before a fork, a loop is not.
        importlib.import_module("uvloop")
    board = Scoreboard.attach(boot.scoreboard_fd)
    os.close(boot.scoreboard_fd)
    listeners = tuple((item, socket.socket(fileno=item.fd)) for item in boot.listeners)
    gc.freeze()
    setproctitle(f"tornado_multi: zygote gen {boot.generation}")
    channel.send(msg.Loaded(import_s))
    return Assignment(
        fork_id=-1,
        generation=boot.generation,
        row=-1,
        supervisor_pid=boot.supervisor_pid,
        channel=channel,
        zygote_channel=channel,
        scoreboard=board,
        listeners=listeners,
        settings=settings,
        is_canary=False,
        directory=boot.directory,
        target=target,
        app_arguments=boot.app_arguments,
    )


def _serve_forks(channel: Channel, template: Assignment, worker_main: WorkerMain) -> None:
    """Fork on command until end of file. Blocking: a zygote has nothing else to do."""
    while True:
        received = channel.receive()
        match received:
            case Received(msg.Fork() as command, (worker_fd,)):
                row = command.row
                assignment = template.for_worker(command, Channel.from_fd(worker_fd))
                try:
                    pid = fork_worker(assignment, worker_main)
                except OSError as error:
                    reason = error.strerror or str(error)
                    channel.send(msg.ForkFailed(row, reason))
                else:
                    channel.send(msg.Forked(row, pid))
                finally:
                    assignment.channel.close()
            case _:
                text = f"[BUG] a zygote was sent {received!r}"
                raise RuntimeError(text)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
            stream.flush()
