"""``bind_sockets`` and ``fork_processes``: Tornado's names and arguments, our supervision.

A process that calls them is one of two:
  starter   the user has started the script: ``fork_processes`` makes it the supervisor, for good,
            and its child the first zygote
  zygote    the supervisor has started the script again, for a reload: it is told so by a variable
In both, ``fork_processes`` returns in the workers only. Runs in: script, main thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import select
import socket
import stat
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle

from tornado_multi.assignment import Assignment, HookErrand
from tornado_multi.forksafety.watch import Watch
from tornado_multi.hooks import find_hooks
from tornado_multi.loading import LoadError
from tornado_multi.process import messages as msg
from tornado_multi.process.cgroups import usable_cpus
from tornado_multi.process.channel import Channel, ChannelClosed
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.identity import fork_id, is_served
from tornado_multi.process.linux import process_age_s
from tornado_multi.process.streams import open_standard_streams
from tornado_multi.script.checks import (
    forget_signals,
    open_fds,
    refuse_loops_and_threads,
    silence_fds,
)
from tornado_multi.script.sockets import BindCalls
from tornado_multi.settings.compare import unused_by_scripts
from tornado_multi.settings.load import UsageError, read_script_settings, unknown_variables
from tornado_multi.settings.model import from_plain
from tornado_multi.settings.paths import typed_directory
from tornado_multi.supervisor.listener_set import ListenerSet
from tornado_multi.supervisor.listeners import BoundListener, describe
from tornado_multi.supervisor.run import serve
from tornado_multi.supervisor.socket_activation import take_passed_sockets
from tornado_multi.supervisor.spawning import VARIABLE, ScriptSpawner
from tornado_multi.supervisor.start import REFUSALS, prepare, refuse
from tornado_multi.worker.script import enter_script_worker
from tornado_multi.zygote.errand import run_errand
from tornado_multi.zygote.run import (
    attach_scoreboard,
    leave,
    log_as_planned,
    report_hook,
    serve_forks,
    take_boot,
    take_on_identity,
    tell,
)

if TYPE_CHECKING:
    from tornado_multi.settings.model import Settings

NO_SOCKETS_NOTICE = (
    "The script has bound no socket by tornado_multi.bind_sockets: a reload can't hand its sockets on. "
    "Import bind_sockets from tornado_multi too."
)
MAX_RESTARTS_NOTICE = (
    "max_restarts is not used: a worker that keeps dying is started again after a growing pause, "
    "while the others serve."
)


def bind_sockets(  # noqa: PLR0917 - Tornado's signature
    port: int,
    address: str | None = None,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    backlog: int | None = None,
    flags: int | None = None,
    reuse_port: bool = False,  # noqa: FBT001, FBT002 - as above
) -> list[socket.socket]:
    """Return listening sockets, as ``tornado.netutil.bind_sockets`` does, that reloads keep.

    After a reload the script runs anew, and the same call (port asked for, address, family, ordinal
    among equal calls) returns the sockets that are open already; only what is new is bound.

    Args: backlog: None: the option ``backlog`` of the environment or file. The others are
        Tornado's.
    Raises: OSError: the address can't be bound. SystemExit: the settings are wrong.
    Runs in: script, before ``fork_processes``; in a worker it is Tornado's function.
    """
    script = _script()
    if backlog is None:
        backlog = script.settings.listen.backlog
    return script.calls.bind(port, address, family, backlog, flags, reuse_port=reuse_port)


def fork_processes(num_processes: int | None, max_restarts: int | None = None) -> int:
    """Fork worker processes under supervision; return the fork_id in each of them.

    The calling process becomes the supervisor and never runs the script's code again; it ends with
    the service. Settings come from the environment and ``tornado_multi.toml``.

    Args: num_processes: None or <= 0: one per CPU that may be used. max_restarts: not used.
    Returns: the worker's fork_id, 0-based; ``tornado.process.task_id()`` agrees.
    Raises: RuntimeError: there is an event loop or a second thread, or this was called before.
        SystemExit: the settings are wrong, or something needed can't be had (code as for ``serve``).
    Runs in: script, main thread, before any event loop; once.
    """
    if fork_id() is not None:
        text = (
            "fork_processes was called in a worker: each process may be forked into workers once."
        )
        raise RuntimeError(text)
    script = _script()
    if script.has_forked:
        raise RuntimeError("fork_processes was called before in this program.")
    refuse_loops_and_threads()
    script.has_forked = True
    workers = num_processes if num_processes is not None and num_processes > 0 else usable_cpus()
    if script.channel is None:
        notes = [] if max_restarts is None else [MAX_RESTARTS_NOTICE]
        return _start(script, workers, notes)
    return _be_zygote(script, script.channel, workers)


@dataclasses.dataclass(slots=True)
class _Script:
    """This program, on its way to ``fork_processes``."""

    settings: Settings
    calls: BindCalls
    watch: Watch
    channel: Channel | None = None
    """In a zygote: to the supervisor."""
    boot: msg.Boot | None = None
    stderr_fd: int | None = None
    """In a zygote that was started for a reload: where its workers are to log."""
    has_forked: bool = False


_found: _Script | None = None


def _script() -> _Script:
    """Find out, once, whether this process is the starter or a zygote."""
    global _found  # noqa: PLW0603 - a program has one main
    if is_served():
        text = (
            "bind_sockets and fork_processes are for programs with their own main; this one is run "
            "by tornado_multi serve, which binds and forks by itself. Start the program with python."
        )
        raise RuntimeError(text)
    if _found is None:
        _found = _as_zygote() or _as_starter()
    return _found


def _as_starter() -> _Script:
    open_standard_streams()
    try:
        settings = read_script_settings(os.path.basename(os.path.abspath(_script_path())))
    except UsageError as error:
        print(f"tornado_multi: {error}", file=sys.stderr)
        sys.exit(int(ExitCode.USAGE))
    return _Script(settings, BindCalls(), Watch(settings.safety, settings.app))


def _script_path() -> str:
    path = sys.argv[0] if sys.argv and sys.argv[0] else "script"
    if os.path.basename(path) != "__main__.py":
        return path
    # ``python -m shop``: the package's name says more than __main__.py.
    return os.path.dirname(os.path.abspath(path))


def _as_zygote() -> _Script | None:
    told = os.environ.pop(VARIABLE, None)
    if told is None:
        return None
    channel_fd, stderr_fd, supervisor_pid = map(int, told.split(":"))
    if not _is_socket(channel_fd):
        return None
    if os.getppid() != supervisor_pid:
        if _is_hung_up(channel_fd):
            leave(0)  # an orphan must not become a service of its own
        # A program that the script starts inherits the variable too, but it is no child of ours.
        return None
    for fd in (channel_fd, stderr_fd):
        os.set_inheritable(fd, False)
    channel = Channel.from_fd(channel_fd)
    try:
        boot = take_boot(channel)
    except ChannelClosed:
        leave(0)
    settings = from_plain(boot.settings)
    watch = Watch(settings.safety, settings.app)
    return _Script(settings, BindCalls(boot.listeners), watch, channel, boot, stderr_fd)


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def _is_hung_up(fd: int) -> bool:
    """Tell whether the other end is gone, whatever waits to be read."""
    poller = select.poll()
    poller.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poller.poll(0))


# --- the starter ----------------------------------------------------------------------------------


def _start(script: _Script, workers: int, notes: list[str]) -> int:
    """Become the supervisor, or (in the child) the first zygote."""
    notes += unknown_variables()
    notes += [
        f"The passed socket {item.name!r} is not used: the script binds its own."
        for item in take_passed_sockets(os.environ)
    ]
    settings = script.settings
    notes += unused_by_scripts(settings)
    if not script.calls.bound:
        notes.append(NO_SOCKETS_NOTICE)
    directory = _starting_directory()
    environment = _starting_environment()
    fds_of_script = open_fds() - {0, 1, 2}
    listeners = [
        BoundListener(sock, describe(sock), key=key)
        for key, sockets in script.calls.bound.items()
        for sock in sockets
    ]
    ours, theirs = Channel.pair()
    command = [sys.executable, *sys.orig_argv[1:]]
    spawner = ScriptSpawner(command, environment, directory)
    with contextlib.ExitStack() as cleanup:
        try:
            prepared = prepare(
                settings,
                cleanup,
                lambda: read_script_settings(settings.app),
                directory,
                lambda: ListenerSet(listeners),
                spawner=spawner,
                asked_workers=workers,
            )
            for stream in (sys.stdout, sys.stderr):  # or both processes would print what lies there
                with contextlib.suppress(Exception):
                    stream.flush()
            pid = os.fork()
        except REFUSALS as error:
            sys.exit(refuse(error))
        if pid == 0:
            cleanup.pop_all()  # the parent's to give back
            ours.close()
            for close in prepared.leave_behind:
                close()
            return _be_zygote(script, theirs, workers)
        code = int(ExitCode.BUG)
        try:
            script.watch.stop()
            forget_signals()
            theirs.close()
            spawner.adopt_first(pid, ours)
            silence_fds(fds_of_script - {listener.sock.fileno() for listener in listeners})
            gc.freeze()  # the script's objects must never be collected here
            prepared.supervisor.note(notes)
            code = serve(prepared.supervisor)
        except BaseException:  # noqa: BLE001 - the script's own code must not run on here
            traceback.print_exc()
    return _end(code)


def _end(code: int) -> NoReturn:
    """End the supervisor without running the script's exit handlers."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _starting_directory() -> str:
    """Return the directory in which the script was started, with links as typed.

    It may have changed its directory since; the shell's $PWD remembers. A service manager that
    changes the directory leaves $PWD as it was: it counts only where the program is found there.
    """
    seen = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(seen) and _is_started_in(seen):
            return seen
    return typed_directory()


def _is_started_in(directory: str) -> bool:
    if "-m" in sys.orig_argv[1:] and sys.path[:1] and os.path.isabs(sys.path[0]):
        return os.path.samefile(directory, sys.path[0])  # where ``python -m`` has begun to search
    script = _script_path()
    return not os.path.isabs(script) and os.path.exists(os.path.join(directory, script))


def _starting_environment() -> dict[str, str]:
    """Return the environment that the script was started with, without what it has changed since.

    With what it has changed if it has a title of its own (setproctitle), which overwrites the rest.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            block = file.read()
    except OSError:
        return dict(os.environ)
    entries = block.removesuffix(b"\0").split(b"\0")
    if not block.endswith(b"\0") or b"" in entries:
        return dict(os.environ)
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


# --- the zygote -----------------------------------------------------------------------------------


def _be_zygote(script: _Script, channel: Channel, workers: int) -> int:
    """Be a zygote to the end of this process; return in the workers that it forks."""
    try:
        template = _load(script, channel, workers)
    except ChannelClosed:
        leave(0)
    except BaseException:  # noqa: BLE001 - a zygote must not run on into the script's code
        traceback.print_exc()
        leave(int(ExitCode.BUG))
    errand = serve_forks(channel, template)
    if isinstance(errand, HookErrand):
        run_errand(errand)
    enter_script_worker(errand)
    return errand.fork_id


def _load(script: _Script, channel: Channel, workers: int) -> Assignment:
    boot = script.boot or take_boot(channel)
    if script.stderr_fd is not None:
        os.dup2(script.stderr_fd, 2)
        os.close(script.stderr_fd)
    gc.disable()  # a collection before the fork would write to pages that workers could share
    settings = from_plain(boot.settings)
    calls = script.calls
    try:
        take_on_identity(boot, settings)
        log_as_planned(settings, channel)
        hooks = find_hooks(settings.hooks, sys.modules.get("__main__"))
        report_hook(channel, hooks.call("on_starting"))
        own_fds = {channel.fileno(), boot.scoreboard_fd, *(item.fd for item in boot.listeners)}
        own_fds |= {sock.fileno() for sockets in calls.bound.values() for sock in sockets}
        if script.stderr_fd is not None:
            own_fds.add(2)  # given back above: it may be the journal's socket
        tell(channel, script.watch, own_fds, boot.directory)
    except LoadError as error:
        with contextlib.suppress(ChannelClosed):
            channel.send(msg.LoadFailed(error.reason, error.detail, error.usage))
        leave(0)
    if script.boot is not None:  # else the supervisor, who was this program, has them already
        for key, sockets in calls.bound.items():
            for sock in sockets:
                channel.send(msg.Bound(key), (sock.fileno(),))
    calls.close_rest()
    template = Assignment(
        fork_id=-1,
        generation=boot.generation,
        row=-1,
        supervisor_pid=boot.supervisor_pid,
        channel=channel,
        zygote_channel=channel,
        scoreboard=attach_scoreboard(boot),
        listeners=tuple(calls.found),
        settings=settings,
        is_canary=False,
        directory=boot.directory,
        target=None,
        app_arguments=None,
        hooks=hooks,
        inheritance=script.watch.inheritance,
        ssl_context=None,
    )
    gc.freeze()
    setproctitle(f"tornado_multi: zygote gen {boot.generation}")
    channel.send(msg.Loaded(process_age_s(), hooks.names(), workers, calls.keys()))
    return template
