"""The program that a script is started anew with: ends with the supervisor, then is the script.

Started by the supervisor as ``python -I -S script_process.py SUPERVISOR_PID COMMAND ...``; not for
people. Until the script calls us it can't look after that itself: an orphan that still loads would
hold the service's ports.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Become the command, in this very process."""
    # The script may find us by a path of its own, and this interpreter searches nowhere.
    sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))
    from tornado_multi.process.adoption import end_with_supervisor

    supervisor_pid, command = int(sys.argv[1]), sys.argv[2:]
    end_with_supervisor(supervisor_pid)
    # Programs that the script starts would inherit the mask and ignore their end.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(command[0], command)  # noqa: S606 - the command that the user has started


if __name__ == "__main__":
    main()
