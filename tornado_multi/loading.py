"""Loading the app: import its module, find the attribute, parse its own options.

Runs in: zygote, before the first fork (``--boot preload``), or worker (``--boot lazy``).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import threading

from tornado_multi.process.time_limits import TimeLimitError, left_of_boot_s, time_limit
from tornado_multi.process.tracebacks import app_stack, app_traceback, first_line


class LoadError(Exception):
    """The app can't be loaded: one line for people, the traceback, and whose mistake it is."""

    def __init__(self, reason: str, detail: str = "", *, usage: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.usage = usage


def load_target(
    app: str,
    app_arguments: tuple[str, ...] | None,
    directory: str,
    boot_timeout_s: float | None = None,
) -> object:
    """Import the module, return the attribute that ``module:attr`` names.

    Args: boot_timeout_s: an import that takes nearly as long is interrupted; None: it may last.
    Raises: LoadError: whatever went wrong, also a SystemExit of the app.
    """
    switch_off_autoreload()
    module_name, _, attribute = app.partition(":")
    # The command line as the app's author knows it: its own name, its own arguments.
    sys.argv = [app, *(app_arguments or ())]
    pid = os.getpid()
    try:
        with _limit(boot_timeout_s):
            module = importlib.import_module(module_name)
        _end_a_copy(pid, module_name)
    except ModuleNotFoundError as error:
        _end_a_copy(pid, module_name)
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            text = (
                f"There is no module {error.name!r}. It was looked for in {directory} and on the "
                "interpreter's path; choose the app's directory with --chdir."
            )
            raise LoadError(text, usage=True) from error
        raise _failure(f"importing {module_name}", error) from error
    except BaseException as error:
        _end_a_copy(pid, module_name)
        if isinstance(error, TimeLimitError):
            raise late("Importing the app", boot_timeout_s, app_stack(error)) from error
        raise _failure(f"importing {module_name}", error) from error
    target = _find_attribute(module, module_name, attribute)
    if app_arguments is not None:
        _parse_app_options()
    return target


def _limit(boot_timeout_s: float | None) -> contextlib.AbstractContextManager[None]:
    if boot_timeout_s is None or threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    return time_limit(left_of_boot_s(boot_timeout_s))


def late(what: str, boot_timeout_s: float | None, stack: str) -> LoadError:
    """Return the error of a boot that takes too long.

    Args: stack: where it was.
    """
    text = f"{what} did not finish within {boot_timeout_s:g} s (boot_timeout_s)."
    return LoadError(text, f"It was here, outermost call first:\n{stack}" if stack else "")


def _end_a_copy(pid: int, module_name: str) -> None:
    """End this process if it is not the one that was to import, but one that the app has forked.

    It would go on as a second zygote or worker, on the same channel.
    """
    if os.getpid() == pid:
        return
    text = (
        f"tornado_multi: {module_name} has forked while it was imported, and the forked process "
        "came back from there; it ends now. Let it end by itself, or start it in a worker.\n"
    )
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
    os._exit(1)


def app_module(app: str) -> object | None:
    """Return the module of ``module:attr`` if it is imported."""
    return sys.modules.get(app.partition(":")[0])


def enter_directory(directory: str) -> None:
    """Make the app's directory the current one and the first on the import path, as typed.

    Raises: LoadError: it is not there any more.
    """
    try:
        os.chdir(directory)
    except OSError as error:
        who = f" by user {os.geteuid()}" if isinstance(error, PermissionError) else ""
        text = f"The app's directory {directory} can't be entered{who}: {error.strerror}."
        raise LoadError(text, usage=True) from error
    os.environ["PWD"] = directory
    sys.path[:] = [entry for entry in sys.path if entry not in {"", directory}]
    sys.path.insert(0, directory)


def _find_attribute(module: object, module_name: str, attribute: str) -> object:
    target = module
    for part in attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError as error:
            names = [name for name in vars(module) if not name.startswith("_")]
            likely = [name for name in names if "app" in name.lower() or "make" in name.lower()]
            hint = f" It has: {', '.join(sorted(likely))}." if likely else ""
            text = f"The module {module_name!r} has no attribute {attribute!r}.{hint}"
            raise LoadError(text, usage=True) from error
    return target


def _parse_app_options() -> None:
    """Give what followed ``--`` to tornado.options, without its callbacks (they open log files)."""
    from tornado import options

    usage = io.StringIO()  # Tornado lists all options before it complains of one
    try:
        with contextlib.redirect_stderr(usage):
            rest = options.parse_command_line(list(sys.argv), final=False)
    except (options.Error, ValueError) as error:  # ValueError: --port=many
        given = " ".join(sys.argv[1:])
        text = f"The app's options (after --: {given}) are wrong: {error}."
        raise LoadError(text, usage=True) from error
    except SystemExit as error:  # --help lists the app's options and leaves
        print(usage.getvalue(), file=sys.stderr, end="", flush=True)
        raise LoadError(
            "The app's options were listed; nothing was started.", usage=True
        ) from error
    except Exception as error:  # of an option's own callback
        raise _failure("parsing its options (after --)", error) from error
    if rest:
        text = f"The app's options (after --) take no such argument: {rest[0]!r}."
        raise LoadError(text, usage=True)


def switch_off_autoreload() -> None:
    """Keep ``debug=True`` from starting Tornado's autoreload.

    At import it would create an event loop in the zygote; in a worker it would re-execute the
    command line that the worker inherited.
    """
    from tornado import autoreload

    def start(check_time: int = 500) -> None:  # noqa: ARG001 - Tornado's signature
        start.asked = True  # type: ignore[attr-defined]  # read by the worker

    start.asked = False  # type: ignore[attr-defined]  # as above
    autoreload.start = start


def _failure(doing: str, error: BaseException) -> LoadError:
    return LoadError(f"The app failed while {doing}: {first_line(error)}", app_traceback(error))
