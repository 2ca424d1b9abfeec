"""The life of a zygote: take the boot message, load the app, fork on command, leave at end of file.

``run_zygote`` and ``serve_forks`` return in forked processes only, with what each is there for; in
the zygote itself they never return. Runs in: zygote.
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
import traceback
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from tornado_multi.assignment import Assignment, HookErrand
from tornado_multi.forksafety.watch import UnsafeError, Watch
from tornado_multi.hooks import find_hooks
from tornado_multi.loading import LoadError, app_module, enter_directory, load_target
from tornado_multi.logs.append_file import opened_fds
from tornado_multi.logs.handler import reopen_all, set_report
from tornado_multi.logs.plan import plan_of
from tornado_multi.logs.setup import LogPlaceError, begin_logs, check_place, make_directory
from tornado_multi.process import messages as msg
from tornado_multi.process.account import AccountError, become, find_account
from tornado_multi.process.adoption import end_with_supervisor
from tornado_multi.process.channel import Channel, ChannelClosed, Received
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.identity import set_generation, set_served
from tornado_multi.process.scoreboard import Scoreboard
from tornado_multi.resources.lives import watch_forks
from tornado_multi.settings.model import from_plain
from tornado_multi.zygote.fork import fork_child
from tornado_multi.zygote.tls import read_context

if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from tornado_multi.settings.model import Settings

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
FREE_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""They mean nothing to a worker: a handler that a script has set before its fork is its workers'."""
IMPORTED_EARLY = ("tornado.options", "tornado.web")
"""What workers need later anyway, imported while we may still read our own files (``--user``)."""


def ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN this is not inherited by programs that the app starts."""


def run_zygote(channel_fd: int) -> Assignment | HookErrand:
    """Run the zygote of ``serve`` to its end. Returns in the processes that it forks."""
    set_served()
    os.set_inheritable(channel_fd, False)
    channel = Channel.from_fd(channel_fd)
    try:
        template = _load(take_boot(channel), channel)
    except ChannelClosed:
        leave(0)
    return serve_forks(channel, template)


def take_boot(channel: Channel) -> msg.Boot:
    """Ignore what is not for a zygote, wait for the boot message, and end with the supervisor.

    Raises: ChannelClosed: the supervisor has gone.
    """
    for number in IGNORED_SIGNALS:
        if number not in FREE_SIGNALS or not callable(signal.getsignal(number)):
            signal.signal(number, ignore_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    received = channel.receive()
    if received is None or not isinstance(received.message, msg.Boot):
        text = f"[BUG] the first message to a zygote was {received!r}"
        raise RuntimeError(text)
    boot = received.message
    set_generation(boot.generation)
    end_with_supervisor(boot.supervisor_pid)
    setproctitle(f"tornado_multi: zygote gen {boot.generation} importing")
    if boot.nofile_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (boot.nofile_limit, hard))
    for fd in (boot.scoreboard_fd, *(listener.fd for listener in boot.listeners)):
        os.set_inheritable(fd, False)
    return boot


def _load(boot: msg.Boot, channel: Channel) -> Assignment:
    """Import the app; return what every assignment has in common. Ends the zygote if it fails."""
    settings = from_plain(boot.settings)
    watch_forks()  # before the app: at-fork hooks run in the order of their registration
    # Garbage collection before the fork would write to pages that workers could share.
    gc.disable()
    begun_s = time.monotonic()
    target = None
    watch = Watch(settings.safety, settings.app)
    own_fds = {channel.fileno(), boot.scoreboard_fd, *(item.fd for item in boot.listeners)}
    try:
        ssl_context = read_context(settings.tls)
        take_on_identity(boot, settings)
        log_as_planned(settings, channel)
        enter_directory(boot.directory)
        module = None
        if settings.workers.boot == "preload":
            target = load_target(
                settings.app, boot.app_arguments, boot.directory, settings.workers.boot_timeout_s
            )
            module = app_module(settings.app)
        hooks = find_hooks(settings.hooks, module)
        report_hook(channel, hooks.call("on_starting"))
        # Also with boot lazy: the modules of hooks are imported here, and workers end the recording.
        tell(channel, watch, own_fds, boot.directory)
    except LoadError as error:
        with contextlib.suppress(ChannelClosed):
            channel.send(msg.LoadFailed(error.reason, error.detail, error.usage))
        leave(0)
    import_s = time.monotonic() - begun_s
    listeners = tuple((item, socket.socket(fileno=item.fd)) for item in boot.listeners)
    for _, sock in listeners:
        sock.setblocking(False)  # whatever the app has given to socket.setdefaulttimeout
    template = Assignment(
        fork_id=-1,
        generation=boot.generation,
        row=-1,
        supervisor_pid=boot.supervisor_pid,
        channel=channel,
        zygote_channel=channel,
        scoreboard=attach_scoreboard(boot),
        listeners=listeners,
        settings=settings,
        is_canary=False,
        directory=boot.directory,
        target=target,
        app_arguments=boot.app_arguments,
        hooks=hooks,
        inheritance=watch.inheritance,
        ssl_context=ssl_context,
    )
    gc.freeze()
    setproctitle(f"tornado_multi: zygote gen {boot.generation}")
    channel.send(msg.Loaded(import_s, hooks.names()))
    return template


def tell(channel: Channel, watch: Watch, own_fds: set[int], directory: str) -> None:
    """Audit what workers would inherit, and tell the supervisor.

    Raises: LoadError: it is not to be served like that.
    """
    try:
        for message in watch.judge(own_fds | opened_fds(), directory):
            channel.send(message)
    except UnsafeError as error:
        raise LoadError(error.reason, error.detail) from error


def take_on_identity(boot: msg.Boot, settings: Settings) -> None:
    """Become the app's user, for good, after what only the supervisor's user may read.

    Raises: LoadError: the system refused.
    """
    if settings.workers.loop == "uvloop":
        # Once for all workers: 6 ms and 1.6 MB. Importing is safe before a fork, a loop is not.
        importlib.import_module("uvloop")
    environment = settings.environment
    plan = plan_of(settings)
    try:
        account = find_account(environment.user, environment.group)
        make_directory(plan, account)
        if account is not None:
            for name in IMPORTED_EARLY:
                importlib.import_module(name)
            become(account)
        check_place(plan)
    except (AccountError, LogPlaceError) as error:
        raise LoadError(str(error), usage=True) from error
    except OSError as error:
        text = f"user={environment.user}: the system refused the change: {error.strerror}."
        raise LoadError(text, usage=True) from error
    end_with_supervisor(boot.supervisor_pid)
    if environment.umask is not None:
        os.umask(int(environment.umask, 8))


def log_as_planned(settings: Settings, channel: Channel) -> None:
    """Set up the logs of this process and, but for what is its own, of those that it forks."""
    set_report(lambda key, text: channel.send(msg.Notice(key, text)))
    begin_logs(plan_of(settings))


def attach_scoreboard(boot: msg.Boot) -> Scoreboard:
    """Map the scoreboard for this process and those that it forks."""
    board = Scoreboard.attach(boot.scoreboard_fd)
    os.close(boot.scoreboard_fd)
    return board


def serve_forks(channel: Channel, template: Assignment) -> Assignment | HookErrand:
    """Fork on command until end of file. Blocking: a zygote has nothing else to do.

    Returns in a forked process only, with what it is there for; the zygote ends in here.
    """
    forked: Assignment | HookErrand | None = None
    try:
        while forked is None:
            forked = _obey(channel, template)
    except ChannelClosed:
        leave(0)  # the supervisor has gone, or wants us to leave
    except BaseException:  # noqa: BLE001 - the zygote must not run on into the app's code
        traceback.print_exc()
        leave(ExitCode.BUG)
    return forked


def _obey(channel: Channel, template: Assignment) -> Assignment | HookErrand | None:
    """Take one command. Returns None in the zygote, and its errand in a forked process."""
    received = channel.receive()
    errand: Assignment | HookErrand
    match received:
        case Received(msg.ReopenLogs()):
            reopen_all()
            return None
        case Received(msg.Fork() as command, (fd, *own)):
            errand = template.for_worker(command, Channel.from_fd(fd), _listeners(command, own))
            report_hook(channel, template.hooks.call("before_fork", command.fork_id))
        case Received(msg.CallHook() as command, (fd,)):
            errand = template.for_hook(command, Channel.from_fd(fd))
        case _:
            text = f"[BUG] a zygote was sent {received!r}"
            raise RuntimeError(text)
    template.inheritance.before_fork()
    try:
        pid = fork_child()
    except OSError as error:
        answer = _refusal(command, error.strerror or str(error))
    else:
        if pid is None:
            return errand
        answer = _announcement(command, pid)
    errand.let_go(template)
    channel.send(answer)
    return None


def _listeners(command: msg.Fork, fds: list[int]) -> tuple[tuple[msg.Listener, socket.socket], ...]:
    """Return the listener that came with a command, if one did."""
    found = []
    for fd in fds:
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)  # whatever the app has given to socket.setdefaulttimeout
        found.append((msg.Listener(fd, command.address), sock))
    return tuple(found)


def _announcement(command: msg.Fork | msg.CallHook, pid: int) -> msg.Message:
    if isinstance(command, msg.Fork):
        return msg.Forked(command.row, pid)
    return msg.HookForked(command.number, pid)


def _refusal(command: msg.Fork | msg.CallHook, reason: str) -> msg.Message:
    if isinstance(command, msg.Fork):
        return msg.ForkFailed(command.row, reason)
    return msg.HookRefused(command.number, reason)


def report_hook(channel: Channel, failure: msg.HookFailed | None) -> None:
    """Tell the supervisor of a failed hook, if it failed."""
    if failure is not None:
        channel.send(failure)


def leave(exit_code: int) -> NoReturn:
    """End the zygote without running what belongs to the app."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None, closed, or whatever the app put there
            stream.flush()
    os._exit(exit_code)
