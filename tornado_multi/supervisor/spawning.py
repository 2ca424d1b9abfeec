"""Starting zygotes: fresh interpreters that get one end of a channel and a boot message.

Runs in: supervisor, main thread (parent-death signals are bound to the thread that spawns).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

from tornado_multi import script_process
from tornado_multi.process.channel import Channel, ChannelClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tornado_multi.process.messages import Boot

PRIVATE_ENVIRONMENT = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
PRIVATE_ENVIRONMENT_PREFIXES = ("WATCHDOG_",)
"""What a service manager says to the supervisor alone."""
VARIABLE = "_TORNADO_MULTI_ZYGOTE"
"""Tells a script that it runs as a zygote: ``CHANNEL_FD:STDERR_FD:SUPERVISOR_PID``."""
LEASH = (sys.executable, "-I", "-S", script_process.__file__)
"""Starts a script so that it ends with us. In an interpreter that searches and reads nothing."""
MOST_OUTPUT_BYTES = 32 * 1024
QUIET_DURING_SPAWN = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}


class Spawner(Protocol):
    """Starts zygotes, in one of two ways."""

    def spawn(self, boot: Boot) -> tuple[int, Channel]:
        """Start a zygote and send it *boot*. Returns its pid and our end of its channel.

        Raises: OSError: the system refused. ValueError: the boot message is too large.
        """

    def take_output(self, generation: int) -> str:
        """Return what a zygote has written to its standard error while it loaded, once."""


class ServeSpawner:
    """For ``serve``: our own program, which imports the app and says by itself why it can't.

    The first one may start ahead of its boot message: its interpreter and ours then import what
    they need at the same time.
    """

    def __init__(self) -> None:
        self._ahead: tuple[int, Channel] | None = None

    def start_ahead(self, fds: list[int]) -> None:
        """Start the first zygote, which waits for its boot message.

        Args: fds: the descriptors that the boot message will name.
        Raises: OSError: the system refused.
        """
        ours, theirs = Channel.pair()
        try:
            self._ahead = (self._start([theirs.fileno(), *fds]), ours)
        finally:
            theirs.close()

    def call_off(self) -> None:
        """Let a zygote that waits for its boot message leave."""
        if self._ahead is not None:
            _, channel = self._ahead
            self._ahead = None
            channel.close()

    def spawn(self, boot: Boot) -> tuple[int, Channel]:
        if self._ahead is not None:
            pid, channel = self._ahead
            self._ahead = None
            try:
                channel.send(boot)
            except (OSError, ChannelClosed):  # killed by somebody; collected like any stranger
                channel.close()
            else:
                return pid, channel
        return _send_and_start(boot, self._start)

    def _start(self, fds: list[int]) -> int:
        # The flags (-X dev, -W error ...) that this interpreter was started with hold for the app
        # too. A private helper of the standard library that multiprocessing relies on as well.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
        # sys.executable is the path as typed, not resolved: a virtual environment that a release
        # link leads to is found anew by each generation.
        program = [sys.executable, *flags, "-m", "tornado_multi.zygote_process"]
        return start_quietly([*program, str(fds[0])], fds, app_environment(os.environ))

    def take_output(self, generation: int) -> str:  # noqa: ARG002 - the protocol's
        return ""


class ScriptSpawner:
    """For a script with its own main program: the first zygote is forked from the script, further
    ones run the script anew, until it calls ``fork_processes``.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
    ) -> None:
        """Take what starts the script.

        Args: environment: as the script got it.
        """
        self._first: tuple[int, Channel] | None = None
        self._command = command
        self._environment = app_environment(environment)
        self._directory = directory
        self._outputs: dict[int, int] = {}
        """generation -> memory file that its standard error goes to while it loads"""

    def adopt_first(self, pid: int, channel: Channel) -> None:
        """Take the process that was forked from the script as the first zygote."""
        self._first = (pid, channel)

    def spawn(self, boot: Boot) -> tuple[int, Channel]:
        if self._first is not None:
            pid, channel = self._first
            self._first = None
            channel.send(boot)
            return pid, channel
        output_fd = os.memfd_create("tornado_multi script")
        # The script takes this one back when it has loaded: its workers log where we do.
        stderr_fd = os.dup(2)
        try:

            def start(fds: list[int]) -> int:
                variable = {VARIABLE: f"{fds[0]}:{stderr_fd}:{os.getpid()}"}
                return start_quietly(
                    [*LEASH, str(os.getpid()), *self._command],
                    [*fds, stderr_fd],
                    {**self._environment, **variable},
                    directory=self._directory,
                    stderr_fd=output_fd,
                )

            pid, channel = _send_and_start(boot, start)
        except BaseException:
            os.close(output_fd)
            raise
        finally:
            os.close(stderr_fd)
        self._outputs[boot.generation] = output_fd
        return pid, channel

    def take_output(self, generation: int) -> str:
        fd = self._outputs.pop(generation, None)
        if fd is None:
            return ""
        with open(fd, "rb") as file:
            file.seek(max(0, os.fstat(fd).st_size - MOST_OUTPUT_BYTES))
            return file.read().decode("utf-8", "replace")


def _send_and_start(boot: Boot, start: Callable[[list[int]], int]) -> tuple[int, Channel]:
    ours, theirs = Channel.pair()
    try:
        ours.send(boot)
        fds = [theirs.fileno(), boot.scoreboard_fd, *(item.fd for item in boot.listeners)]
        return start(fds), ours
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def app_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is meant for the supervisor alone."""
    return {
        key: value
        for key, value in environment.items()
        if key not in PRIVATE_ENVIRONMENT and not key.startswith(PRIVATE_ENVIRONMENT_PREFIXES)
    }


def start_quietly(
    command: Sequence[str],
    fds: Sequence[int],
    environment: Mapping[str, str],
    *,
    directory: str | None = None,
    stderr_fd: int | None = None,
) -> int:
    """Start a program with the stop signals masked: a zygote begins by ignoring them.

    Returns: its pid; the caller collects its end.
    Raises: OSError: the system refused.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, QUIET_DURING_SPAWN)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stderr=stderr_fd,
            env=environment,
            cwd=directory,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    process.returncode = 0  # or it would look after the process too, and warn that it still runs
    return process.pid
