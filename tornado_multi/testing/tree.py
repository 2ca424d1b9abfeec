"""One ``serve`` process and all that it starts: started, asked, ended, and proved to be gone.

What the fixtures of users and the tests of tornado_multi itself have in common.
Runs in: tests. Blocking.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.settings.model import ControlSettings
from tornado_multi.testing import leash, processes
from tornado_multi.testing.errors import HIDE_OUR_FRAMES, BootFailed, ClusterError
from tornado_multi.testing.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__tracebackhide__ = HIDE_OUR_FRAMES
T = TypeVar("T")
HURRIED_STOP_WITHIN_S = 15.0
"""From INT to the end of the supervisor, which kills what has not left by then."""
LAST_ONES_WITHIN_S = 5.0
"""From the end of the supervisor to that of every other process."""


class Tree:
    """One ``serve`` process in a session of its own, that does not outlive this process."""

    ready_within_s = 150.0
    """Twice the default boot timeout and some: a guard, because a failed boot ends by itself."""
    stop_within_s = 40.0
    """The default drain timeout and some."""

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        *,
        control: Path,
        cwd: Path,
        environment: Mapping[str, str],
        wrapper: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        log_fd: int | None = None,
        merge_output: bool = False,
    ) -> None:
        """Start the process.

        Args:
            directory: for the log; is made.
            command: what becomes the supervisor.
            control: where it puts the control socket.
            environment: the whole of it.
            wrapper: a command that becomes the one that is appended to it.
            log_fd: where standard error goes instead of the log.
            merge_output: whether standard output goes to the log too.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.control = control
        self._log_path = directory / "log"
        self._output_path = directory / "output"
        self._addresses: list[str] = []
        with self._log_path.open("wb") as log, self._output_path.open("wb") as output:
            self.process = leash.spawn(
                [*wrapper, *command],
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log if merge_output else output,
                stderr=log if log_fd is None else log_fd,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        self.pid = self.process.pid
        """Of the supervisor; also the number of the session."""

    # --- asking -----------------------------------------------------------------------------------

    def wait_ready(self, within_s: float | None = None) -> Self:
        """Wait until every worker is ready.

        Raises: BootFailed: the supervisor ended, with its log.
        """

        def ready() -> bool:
            code = self.process.poll()
            if code is not None:
                raise BootFailed(code, self.log())
            status = self.try_status()
            return status is not None and status["state"] == "serving"

        wait_for(
            ready,
            within_s=within_s or self.ready_within_s,
            about="the service is ready",
            log=self.log,
        )
        return self

    def try_status(self) -> dict[str, Any] | None:
        """Return the status, or None if no supervisor answers."""
        try:
            with contextlib.closing(connect(ControlSettings(control=str(self.control)))) as asked:
                replies = list(asked.ask(Request("status")))
        except (ControlError, OSError):
            return None
        status = replies[-1].get("status") if replies else None
        if status is not None:
            self._addresses = [listener["address"] for listener in status["listeners"]]
        return status

    def status(self) -> dict[str, Any]:
        """Return what ``tornado-multi status --json`` prints.

        Raises: ClusterError: no supervisor answers.
        """
        status = self.try_status()
        if status is None:
            raise ClusterError(self._with_log("no supervisor answers"))
        return status

    def workers(self, state: str = "ready") -> list[dict[str, Any]]:
        """Return the rows of the status whose worker is in this state."""
        return [row for row in self.status()["workers"] if row["state"] == state]

    def worker_pids(self) -> list[int]:
        """Return the pids of the ready workers, by fork_id."""
        return [row["pid"] for row in self.workers()]

    def worker(self, fork_id: int) -> dict[str, Any]:
        """Return the ready row of one fork_id, waiting while it is being replaced."""
        rows = self.wait_for(
            lambda: [row for row in self.workers() if row["fork_id"] == fork_id],
            about=f"worker {fork_id} is ready",
        )
        return rows[0]

    @property
    def addresses(self) -> list[str]:
        """What the service listens on, as clients type it; still known when it has ended."""
        if not self._addresses:
            self.status()
        return self._addresses

    def log(self) -> str:
        """Return what the service has written on standard error until now."""
        return self._log_path.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], T], *, within_s: float = 15.0, about: str = "") -> T:
        """Wait as ``waiting.wait_for`` does; the error shows the end of the log."""
        return wait_for(condition, within_s=within_s, about=about, log=self.log)

    def _with_log(self, sentence: str) -> str:
        code = self.process.poll()
        state = "" if code is None else f"; the supervisor has ended with exit code {code}"
        return f"{sentence}{state}; log:\n{self.log()}"

    # --- acting -----------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait_gone(self, within_s: float | None = None) -> int:
        """Wait for the supervisor's end. Returns its exit code, or minus the signal that ended it.

        Raises: ClusterError: it lives on.
        """
        within_s = within_s or self.stop_within_s
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            sentence = f"the service did not end within {within_s:g} s"
            raise ClusterError(self._with_log(sentence)) from None

    def stop(self) -> int:
        """Drain and stop the service, if it still runs. Returns its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_gone()

    def leftovers(self) -> list[processes.Process]:
        """Return the processes of the service that run; those that have ended hold nothing."""
        return [process for process in processes.session(self.pid) if process.state != "Z"]

    def left_files(self) -> list[Path]:
        """Return the socket and lock files that are still there."""
        return [path for path in self.directory.iterdir() if ".sock" in path.name]

    def close(self) -> None:
        """Stop the service at once if it still runs, and prove that nothing is left.

        Raises: ClusterError: something was; processes are killed by then.
        """
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                self.process.wait(HURRIED_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise ClusterError(self._with_log("INT did not end the service")) from None
        try:
            wait_for(lambda: not self.leftovers(), within_s=LAST_ONES_WITHIN_S)
        except AssertionError:
            left = [f"pid {process.pid} {process.title}" for process in self.leftovers()]
            self.kill_all()
            raise ClusterError(self._with_log(f"left behind: {', '.join(left)}")) from None
        # A supervisor that was killed could not remove them; its successor takes them over.
        if self.process.returncode != -signal.SIGKILL and (files := self.left_files()):
            raise ClusterError(f"left behind: {', '.join(map(str, files))}")

    def kill_all(self) -> None:
        """Last resort for a failing test: end every process of the service."""
        for process in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait(10)
