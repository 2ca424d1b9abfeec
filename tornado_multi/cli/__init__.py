"""The command line: one module per command. Parses, calls, prints; no logic.

Heavy rooms (supervisor, asyncio, rich) are imported by the command that needs them, so that
``status`` in a shell loop stays cheap.
"""

from __future__ import annotations

import os
import sys

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.linux import require_linux


def _open_standard_streams() -> None:
    """Fill closed standard streams, or a listening socket would get the number of one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, mode, number in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
        if getattr(sys, name) is None:  # as Python says that it found the descriptor closed
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code. The console script ``tornado-multi``."""
    require_linux()
    _open_standard_streams()
    from tornado_multi.cli.commands import run_command
    from tornado_multi.settings.load import UsageError

    try:
        code = run_command(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        code = ExitCode.USAGE
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output left (``| head``); let the shell see what SIGPIPE would say.
        sys.stderr.close()
        code = 141
    sys.exit(int(code))
