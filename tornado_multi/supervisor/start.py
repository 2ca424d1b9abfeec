"""From settings to a running supervisor: locks, listeners, control socket, in this order.

Everything that can be refused is refused here, before any process is started, and what was opened
is closed again. Runs in: supervisor, before its loop.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tornado_multi.control.locate import LocateError, socket_path
from tornado_multi.control.server import open_control_socket
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.paths import typed_directory
from tornado_multi.supervisor.listeners import ListenError, effective_backlog, open_listeners
from tornado_multi.supervisor.lockfile import AlreadyRunningError, PidFile
from tornado_multi.supervisor.patient import PatientStream
from tornado_multi.supervisor.report import Reporter
from tornado_multi.supervisor.run import Supervisor, serve
from tornado_multi.supervisor.status import Identity
from tornado_multi.supervisor.watching import WatchError, require_watchfiles
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.settings.model import ControlSettings, Settings


class DirectoryError(Exception):
    """The app's directory can't be entered; a sentence."""


def start(
    settings: Settings, app_arguments: tuple[str, ...] | None, reread: Callable[[], Settings]
) -> int:
    """Start, serve and clean up. Returns the exit code.

    Args: reread: reads the settings anew from the same sources, for a reload; raises ValueError.
    """
    with contextlib.ExitStack() as cleanup:
        try:
            supervisor = _prepare(settings, app_arguments, reread, cleanup)
        except AlreadyRunningError as error:
            print(error, file=sys.stderr)
            return int(ExitCode.ALREADY_RUNNING)
        except (WatchError, DirectoryError) as error:
            print(error, file=sys.stderr)
            return int(ExitCode.USAGE)
        except (ListenError, LocateError) as error:
            print(error, file=sys.stderr)
            return int(ExitCode.REFUSED_BY_SYSTEM)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            print(f"The system refused: {error.strerror}{where}.", file=sys.stderr)
            return int(ExitCode.REFUSED_BY_SYSTEM)
        return serve(supervisor)


def _prepare(
    settings: Settings,
    app_arguments: tuple[str, ...] | None,
    reread: Callable[[], Settings],
    cleanup: contextlib.ExitStack,
) -> Supervisor:
    if settings.environment.reload_on_change:
        require_watchfiles()
    name = settings.control.name or settings.app.partition(":")[0]
    try:
        directory = working_directory(settings.environment.chdir)
    except OSError as error:
        text = f"chdir={settings.environment.chdir}: {error.strerror}."
        raise DirectoryError(text) from error
    control_path = socket_path(settings.control.control, name)
    lock = PidFile.acquire(
        control_path.with_name(control_path.name + ".lock"), f" --control {control_path}"
    )
    cleanup.callback(lock.close)
    if settings.environment.pid_file is not None:
        pid_file = PidFile.acquire(Path(settings.environment.pid_file).absolute())
        cleanup.callback(pid_file.close)
    listeners = open_listeners(settings.listen.bind, settings.listen.backlog)
    for listener in listeners:
        cleanup.callback(listener.close)
    control_socket = open_control_socket(control_path)
    cleanup.callback(_remove_control_socket, control_path, control_path.lstat())
    cleanup.callback(control_socket.close)
    log, block = PatientStream(sys.stderr), PatientStream(sys.stdout)
    cleanup.callback(log.close)
    cleanup.callback(block.close)
    identity = Identity(
        pid=os.getpid(),
        name=name,
        version=VERSION,
        app=settings.app,
        control_path=str(control_path),
        control_options=_control_options(settings.control),
        addresses=tuple(listener.address for listener in listeners),
        backlog=effective_backlog(settings.listen.backlog),
        started_s=time.monotonic(),
    )
    return Supervisor(
        settings,
        app_arguments,
        identity,
        reread=reread,
        directory=directory,
        listeners=listeners,
        control_socket=control_socket,
        reporter=Reporter(settings.environment.log_format, log, block),
    )


def _control_options(control: ControlSettings) -> str:
    if control.control is not None:
        return f" --control {control.control}"
    return "" if control.name is None else f" --name {control.name}"


def _remove_control_socket(path: Path, bound: os.stat_result) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(bound, path.lstat()):  # not somebody's who took the path meanwhile
            path.unlink()


def working_directory(chdir: str | None) -> str:
    """Return the app's directory as the user sees it, with symbolic links kept as typed.

    Raises: OSError: there is no such directory.
    """
    here = typed_directory()
    path = here if chdir is None else os.path.join(here, chdir)
    os.stat(path + "/.")
    return path
