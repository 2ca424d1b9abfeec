"""A server of somebody else, for the tests: started apart, awaited, ended, and tied to their life.

When the tests' process is killed, the kernel ends the server.
Runs in: tests.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from support.waiting import eventually
from tornado_multi.testing import leash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class ServerProcess:
    """One process in a session of its own, so that Ctrl-C at the tests does not end it first."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        prefix: Sequence[str] = (),
        death_signal: str = "KILL",
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            prefix: a command that becomes the one that is appended to it.
            death_signal: what the kernel sends it when the tests are gone.
            pass_fds: what it inherits beside its standard streams.
        """
        self._log = log
        with log.open("ab") as file:
            self.process = leash.spawn(
                # In this order: a change of the account makes the kernel forget the signal.
                [*prefix, "setpriv", "--pdeathsig", death_signal, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    def wait_ready(self, probe: Callable[[], bool]) -> None:
        """Wait until *probe* is true.

        Raises: AssertionError: the server has ended instead, with its log.
        """

        def ready() -> bool:
            assert self.process.poll() is None, f"the server ended: {self.log()}"
            return probe()

        eventually(ready, within_s=60, about="the server answers", log=self.log)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self, signal_number: int) -> None:
        """Send a signal and wait for the end; a server that ignores it is killed."""
        self.process.send_signal(signal_number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
