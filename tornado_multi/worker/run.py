"""The life of a worker of ``serve``: after the fork, boot the app, serve, drain, end.

Runs in: worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from tornado_multi.hooks import find_hooks
from tornado_multi.loading import LoadError, app_module, late, load_target
from tornado_multi.logs.setup import renew_logs
from tornado_multi.process import messages as msg
from tornado_multi.process.channel import ChannelClosed
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.time_limits import TimeLimitError, left_of_boot_s, time_limit
from tornado_multi.process.tracebacks import (
    app_stack,
    app_traceback,
    first_line,
    is_our_own,
    place,
)
from tornado_multi.worker.after_fork import enter
from tornado_multi.worker.app import AppError, build
from tornado_multi.worker.core import Worker
from tornado_multi.worker.end import cancel_tasks, leave
from tornado_multi.worker.probe import ProbeError, probe
from tornado_multi.worker.server import DrainingHTTPServer

if TYPE_CHECKING:
    from tornado_multi.assignment import Assignment
    from tornado_multi.hooks import Hooks
    from tornado_multi.settings.model import Settings
    from tornado_multi.worker.app import Answerer

MOST_DETAIL = 20_000
"""Characters of a traceback that are told, the last ones."""


def run_worker(assignment: Assignment) -> NoReturn:
    """Be a worker until the end of this process."""
    exit_code, ending = int(ExitCode.BUG), msg.Ending()
    worker: Worker | None = None
    try:
        enter(assignment)
        loop = _new_loop(assignment.settings.workers.loop)
        asyncio.set_event_loop(loop)
        worker = Worker(assignment, loop)
        exit_code = loop.run_until_complete(_live(assignment, worker))
    except SystemExit as error:  # the app's own, from a handler or a callback
        exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        ending = msg.Ending(_named(error))
    except BaseException as error:  # noqa: BLE001 - the process ends here, and says why
        if worker is None or is_our_own(error):
            traceback.print_exc()
        else:
            exit_code = 1  # as any Python program that an error ends
            ending = msg.Ending(*_explained(error))
    finally:
        if worker is not None:
            # So that the supervisor sees to it that the end doesn't last for ever.
            with contextlib.suppress(Exception):
                worker.send(ending)
        leave(exit_code)


def _named(error: BaseException) -> str:
    where = place(error)
    return first_line(error) if where is None else f"{first_line(error)} at {where}"


def _explained(error: BaseException) -> tuple[str, str | None]:
    """Return what ended the loop, and its traceback: an error that nothing could catch, or a stop."""
    if isinstance(error, RuntimeError) and "Event loop stopped" in str(error):
        return "a stop of the event loop, which is the worker's (IOLoop.stop, loop.stop)", None
    return _named(error), app_traceback(error)[-MOST_DETAIL:]


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def _live(assignment: Assignment, worker: Worker) -> int:
    """Boot, serve, drain. Returns the exit code."""
    worker.hear()
    boot = asyncio.get_running_loop().create_task(_boot(assignment, worker))
    either: set[asyncio.Future[Any]] = {boot, worker.told_to_leave}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if boot.done():
        try:
            server = boot.result()
            _listen_again(assignment)
        except Exception as error:  # noqa: BLE001 - all that a factory may raise
            _report_failed_boot(assignment, error)
            return int(ExitCode.BOOT_FAILED)
        renew_logs()  # the factory may have set up logging in its own way
        server.add_sockets([sock for _, sock in assignment.listeners])
        worker.become_ready(_hooks(assignment))
        await worker.told_to_leave
        await worker.drain_and_report()
    else:
        worker.send(msg.Draining())  # told to leave before it was ready: no failed boot
        await worker.close_resources()
    await cancel_tasks()
    return int(ExitCode.DONE)


async def _boot(assignment: Assignment, worker: Worker) -> DrainingHTTPServer:
    """Build the app, and the server that answers with it."""
    settings = assignment.settings
    DrainingHTTPServer.equip(worker.accepting, worker.connections, worker.health)
    try:
        if assignment.app_arguments is not None:
            from tornado import options

            options.options.run_parse_callbacks()
        answerer = await _build_in_time(_target(assignment), settings)
    except SystemExit as error:
        # As an ordinary error, or it would tear the loop down before it can be reported.
        raise AppError(f"The app left at boot: {first_line(error)}.") from error
    worker.explain_autoreload()
    http, proxy = settings.http, settings.proxy
    server = DrainingHTTPServer(
        answerer,
        ssl_options=assignment.ssl_context,
        xheaders=proxy.xheaders,
        trusted_downstream=list(proxy.trusted_downstream),
        max_body_size=http.max_body_size_bytes,
        # Tornado's buffer must hold the largest body that a handler may get whole.
        max_buffer_size=max(http.max_body_size_bytes, 1024 * 1024),
        body_timeout=http.body_timeout_s,
        decompress_request=http.decompress,
    )
    health_path = settings.workers.health_path
    if assignment.is_canary and health_path is not None:
        await probe(server, health_path)
    return server


def _listen_again(assignment: Assignment) -> None:
    """Listen at an instance's own address, which does not do so yet after a pause.

    Raises: LoadError: meanwhile somebody else has begun to.
    """
    if not assignment.settings.instances.is_asked:
        return
    for listener, sock in assignment.listeners:
        try:
            sock.listen(assignment.settings.listen.backlog)
        except OSError as error:
            text = f"Can't listen on {listener.address} again: {error.strerror}."
            hint = " Another process listens there; stop it." * (error.errno == errno.EADDRINUSE)
            raise LoadError(text + hint) from error


async def _build_in_time(target: object, settings: Settings) -> Answerer:
    """Build the app.

    Raises: LoadError: it took nearly as long as a boot may; a factory that blocks is interrupted.
        AppError, or whatever the factory raises.
    """
    timeout_s = settings.workers.boot_timeout_s
    try:
        async with asyncio.timeout(left_of_boot_s(timeout_s)) as limit:
            return await build(target, settings.app, lambda: time_limit(left_of_boot_s(timeout_s)))
    except TimeLimitError as error:
        stack = app_stack(error)
    except TimeoutError as error:
        if not limit.expired():
            raise  # the factory's own
        stack = app_stack(error.__cause__ or error)
    raise late(f"Building {settings.app}", timeout_s, stack)


def _target(assignment: Assignment) -> object:
    if assignment.settings.workers.boot == "preload":
        return assignment.target
    settings = assignment.settings
    return load_target(
        settings.app,
        assignment.app_arguments,
        assignment.directory,
        settings.workers.boot_timeout_s,
    )


def _hooks(assignment: Assignment) -> Hooks:
    """Return the hooks of a worker that is ready; one that imported the app itself looks anew."""
    if assignment.settings.workers.boot == "preload":
        return assignment.hooks
    return find_hooks(assignment.settings.hooks, app_module(assignment.settings.app))


def _report_failed_boot(assignment: Assignment, error: Exception) -> None:
    fork_id, app = assignment.fork_id, assignment.settings.app
    if isinstance(error, (AppError, ProbeError)):
        reason, detail = str(error), ""
    elif isinstance(error, LoadError):
        reason, detail = error.reason, error.detail
    else:
        reason = f"Building {app} failed in worker {fork_id}: {first_line(error)}"
        detail = app_traceback(error)
    # Blocking, so that it surely leaves before the process does; and so nobody else may read.
    asyncio.get_running_loop().remove_reader(assignment.channel.fileno())
    assignment.channel.set_blocking(True)
    with contextlib.suppress(ChannelClosed):
        assignment.channel.send(msg.BootFailed(reason, detail))
