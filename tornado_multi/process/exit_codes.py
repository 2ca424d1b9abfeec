"""Exit codes of the commands and of the supervisor.

Sources: sysexits.h for 70; daemontools for 111 ("the system refused"); shells for 128 + n.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished command tells the process that started it."""

    DONE = 0
    """Done; also after TERM, INT or QUIT when every process ended within its deadline."""
    NO = 1
    """The answer is no: the command ran and what it was asked for failed."""
    USAGE = 2
    """The command line, the environment or the configuration file is wrong."""
    BOOT_FAILED = 3
    """The app failed to boot; starting again without a change will fail again."""
    ALREADY_RUNNING = 4
    """Another supervisor holds the pid file or the control socket."""
    NO_SUPERVISOR = 5
    """No supervisor answers."""
    BUG = 70
    """Our own mistake."""
    REFUSED_BY_SYSTEM = 111
    """The operating system refused something that we need: a port, a directory, a process."""


def died_of_signal(signal_number: int) -> int:
    """Return the shell's exit code for an end by this signal: 128 + n."""
    return 128 + signal_number
