"""The command line: one module per command. Parses, calls, prints; no logic.

Heavy rooms (supervisor, asyncio, rich) are imported by the command that needs them, so that
``status`` in a shell loop stays cheap.
"""

from __future__ import annotations

import sys

from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.process.linux import require_linux
from tornado_multi.process.streams import open_standard_streams


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code. The console script ``tornado-multi``."""
    require_linux()
    open_standard_streams()
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
