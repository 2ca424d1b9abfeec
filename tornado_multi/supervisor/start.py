"""From settings to a running supervisor: locks, listeners, control socket, in this order.

Everything that can be refused is refused here, before any process is started, and what was opened
is closed again. Runs in: supervisor, before its loop.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tornado_multi.control.locate import LocateError, open_control_socket, socket_path
from tornado_multi.process.account import AccountError, find_account
from tornado_multi.process.cgroups import memory_limit_bytes, worker_count
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.scoreboard import Scoreboard
from tornado_multi.settings.model import ListenSettings, service_name
from tornado_multi.settings.paths import typed_directory
from tornado_multi.supervisor.listener_set import InstanceListeners, ListenerSet
from tornado_multi.supervisor.listeners import ListenError, effective_backlog, open_listeners
from tornado_multi.supervisor.lockfile import AlreadyRunningError, PidFile
from tornado_multi.supervisor.own_log import open_own_log, path_of
from tornado_multi.supervisor.patient import PatientStream
from tornado_multi.supervisor.report import Reporter
from tornado_multi.supervisor.socket_activation import choose_binds, take_passed_sockets
from tornado_multi.supervisor.spawning import ServeSpawner
from tornado_multi.supervisor.watching import WatchError, require_watchfiles
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.settings.model import ControlSettings, Settings
    from tornado_multi.supervisor.run import Supervisor
    from tornado_multi.supervisor.spawning import Spawner
    from tornado_multi.supervisor.status import LogPlace


class DirectoryError(Exception):
    """The app's directory can't be entered; a sentence."""


REFUSALS = (
    AlreadyRunningError,
    WatchError,
    DirectoryError,
    AccountError,
    ListenError,
    LocateError,
    OSError,
)
"""What ``prepare`` raises; ``refuse`` says it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A supervisor that holds all it needs and has started nothing."""

    supervisor: Supervisor
    leave_behind: list[Callable[[], None]]
    """Closes what a process forked from this one must not hold; removes nothing."""


def start(
    settings: Settings, app_arguments: tuple[str, ...] | None, reread: Callable[[], Settings]
) -> int:
    """Start, serve and clean up. Returns the exit code.

    Args: reread: reads the settings anew from the same sources, for a reload; raises ValueError.
    """
    with contextlib.ExitStack() as cleanup:
        try:
            directory = app_directory(settings)
            passed = take_passed_sockets(os.environ)
            asked = () if settings.instances.is_asked else settings.listen.bind
            binds, notes = choose_binds(asked, ListenSettings().bind, passed)
            scheme = "http" if settings.tls.tls_certificate is None else "https"

            def listen() -> ListenerSet:
                if settings.instances.is_asked:
                    return _listen_each(settings, scheme)
                return ListenerSet(open_listeners(binds, settings.listen.backlog, scheme))

            prepared = prepare(
                settings, cleanup, reread, directory, listen, app_arguments=app_arguments
            )
        except REFUSALS as error:
            return refuse(error)
        from tornado_multi.supervisor.run import serve

        prepared.supervisor.note(notes)
        return serve(prepared.supervisor)


def refuse(error: Exception) -> int:
    """Say why the service can't start. Returns the exit code."""
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        print(f"The system refused: {error.strerror}{where}.", file=sys.stderr)
        return int(ExitCode.REFUSED_BY_SYSTEM)
    print(error, file=sys.stderr)
    if isinstance(error, AlreadyRunningError):
        return int(ExitCode.ALREADY_RUNNING)
    if isinstance(error, (WatchError, DirectoryError, AccountError)):
        return int(ExitCode.USAGE)
    return int(ExitCode.REFUSED_BY_SYSTEM)


def app_directory(settings: Settings) -> str:
    """Return the app's directory as the user sees it.

    Raises: DirectoryError: there is no such directory.
    """
    try:
        return working_directory(settings.environment.chdir)
    except OSError as error:
        text = f"chdir={settings.environment.chdir}: {error.strerror}."
        raise DirectoryError(text) from error


def prepare(
    settings: Settings,
    cleanup: contextlib.ExitStack,
    reread: Callable[[], Settings],
    directory: str,
    listen: Callable[[], ListenerSet],
    *,
    app_arguments: tuple[str, ...] | None = None,
    spawner: Spawner | None = None,
    asked_workers: int | None = None,
) -> Prepared:
    """Take locks, listeners and control socket; *cleanup* gives them back.

    Args: spawner, asked_workers: script mode: what starts its zygotes, and how many workers it
        asks for.
    Raises: REFUSALS: nothing is held then.
    """
    if settings.environment.reload_on_change:
        require_watchfiles()
    account = find_account(settings.environment.user, settings.environment.group)
    name = service_name(settings)
    control_path = socket_path(settings.control.control, name)
    lock = PidFile.acquire(
        control_path.with_name(control_path.name + ".lock"), f" --control {control_path}"
    )
    cleanup.callback(lock.close)
    leave_behind = [lock.forget]
    if settings.environment.pid_file is not None:
        pid_file = PidFile.acquire(Path(settings.environment.pid_file).absolute())
        cleanup.callback(pid_file.close)
        leave_behind.append(pid_file.forget)
    listeners = listen()
    cleanup.callback(listeners.close)
    control_socket = open_control_socket(control_path)
    cleanup.callback(_remove_control_socket, control_path, control_path.lstat())
    cleanup.callback(control_socket.close)
    leave_behind.append(control_socket.close)
    board, board_fd = Scoreboard.create()
    if spawner is None:
        spawner = ServeSpawner()
        cleanup.callback(spawner.call_off)
        spawner.start_ahead([board_fd, *(item.fd for item in listeners.shared())])
    # Two thirds of what we import, half of it asyncio: while the zygote's interpreter starts.
    from tornado_multi.supervisor.run import Supervisor
    from tornado_multi.supervisor.service_manager import ServiceManager
    from tornado_multi.supervisor.status import Identity

    log, block = PatientStream(sys.stderr), PatientStream(sys.stdout)
    cleanup.callback(log.close)
    cleanup.callback(block.close)
    place = log_place(settings, typed_directory() if asked_workers is None else directory)
    own_log = None
    if (own_path := path_of(place, name)) is not None:
        on_stderr = Reporter(settings.logging.log_format, log)
        own_log = open_own_log(own_path, settings.logging, account, on_stderr.warn)
        cleanup.callback(own_log.close)
    identity = Identity(
        pid=os.getpid(),
        name=name,
        version=VERSION,
        mode=_mode(settings, is_script=asked_workers is not None),
        app=settings.app,
        control_path=str(control_path),
        control_options=_control_options(settings.control),
        addresses=listeners.addresses(),
        backlog=effective_backlog(settings.listen.backlog),
        memory_limit_bytes=memory_limit_bytes(),
        started_s=time.monotonic(),
        logs=place,
    )
    supervisor = Supervisor(
        settings,
        app_arguments,
        identity,
        reread=reread,
        directory=directory,
        listeners=listeners,
        control_socket=control_socket,
        reporter=Reporter(settings.logging.log_format, log, block, own_log),
        manager=ServiceManager.from_environment(os.environ),
        board=board,
        board_fd=board_fd,
        spawner=spawner,
        asked_workers=asked_workers,
    )
    return Prepared(supervisor, leave_behind)


def _listen_each(settings: Settings, scheme: str) -> ListenerSet:
    """Open the listener of each instance, or none. Raises: ListenError."""
    listeners = InstanceListeners(settings.instances.bind_of, settings.listen.backlog, scheme)
    listeners.open_for(range(worker_count(settings.workers.workers)))
    return listeners


def _mode(settings: Settings, *, is_script: bool) -> Literal["serve", "instances", "script"]:
    if is_script:
        return "script"
    return "instances" if settings.instances.is_asked else "serve"


def _control_options(control: ControlSettings) -> str:
    if control.control is not None:
        return f" --control {control.control}"
    return "" if control.name is None else f" --name {control.name}"


def _remove_control_socket(path: Path, bound: os.stat_result) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(bound, path.lstat()):  # not somebody's who took the path meanwhile
            path.unlink()


def log_place(settings: Settings, here: str) -> LogPlace:
    """Return where the app's processes log.

    Args: here: the directory that relative paths are meant from: where the service was started.
    """
    from tornado_multi.supervisor.status import LogPlace

    logging = settings.logging
    directory, file = (
        None if path is None else os.path.normpath(os.path.join(here, path))
        for path in (logging.log_dir, logging.log_file)
    )
    return LogPlace(directory, file, logging.log_format)


def working_directory(chdir: str | None) -> str:
    """Return the app's directory as the user sees it, with symbolic links kept as typed.

    Raises: OSError: there is no such directory.
    """
    here = typed_directory()
    path = here if chdir is None else os.path.join(here, chdir)
    os.stat(path + "/.")
    return path
