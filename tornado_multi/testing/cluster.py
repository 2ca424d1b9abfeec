"""A running service as a test sees it. Runs in: tests. Blocking."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.settings.bind import MAX_UNIX_PATH_BYTES
from tornado_multi.settings.model import ControlSettings, WorkerSettings
from tornado_multi.testing import leash
from tornado_multi.testing.errors import HIDE_OUR_FRAMES, ClusterError, ReloadFailed
from tornado_multi.testing.fetching import Response, fetch
from tornado_multi.testing.load import Load
from tornado_multi.testing.options import DEFAULTS, flatten, to_arguments, unix_paths
from tornado_multi.testing.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

__tracebackhide__ = HIDE_OUR_FRAMES
OWN_VARIABLES = "TORNADO_MULTI_"
SERVICE_ENVIRONMENT = {
    # What the app prints stands in the log at once, also before a kill.
    "PYTHONUNBUFFERED": "1",
    # Python takes a module's cached code for current if neither size nor second of the file have
    # changed; a test that edits code and reloads is faster than that.
    "PYTHONDONTWRITEBYTECODE": "1",
}
MARGIN_S = 10.0


def _seconds(given: Any, default_s: float) -> float:
    """Return an option's seconds; what is none is refused by ``serve``, which says it better."""
    try:
        return float(given)
    except (TypeError, ValueError):
        return default_s


class Cluster(Tree):
    """One service: a supervisor, its zygote and its workers.

    Made by the fixtures ``cluster`` and ``cluster_factory``, which also end it.
    """

    def __init__(
        self, directory: Path, app: str, options: Mapping[str, Any], *, chdir: Path, cwd: Path
    ) -> None:
        """Start the service without waiting for it.

        Args:
            directory: for its log and its control socket; is made.
            options: those of ``serve``, ``environment`` and ``app_arguments``.
            chdir: the app's directory unless the options name one.
            cwd: what relative paths in the options start from.
        Raises: OptionError: ``serve`` has no such option.
        """
        flat = DEFAULTS | {"chdir": chdir} | flatten(options)
        self.app = app
        self._short_directory: Path | None = None
        if flat.get("control") is None:
            flat["control"] = self._control_path(directory)
        self._unix_paths = [Path(path) for path in unix_paths(flat["bind"] or ())]
        defaults = WorkerSettings()
        boot_s = _seconds(flat.get("boot_timeout_s"), defaults.boot_timeout_s)
        drain_s = _seconds(flat.get("drain_timeout_s"), defaults.drain_timeout_s)
        self.stop_within_s = drain_s + MARGIN_S
        # The import and the first worker have one boot timeout each.
        self.ready_within_s = 2 * boot_s + MARGIN_S
        self._answer_within_s = self.ready_within_s + self.stop_within_s
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)
        }
        super().__init__(
            directory,
            leash.leashed(["serve", *to_arguments(app, flat)]),
            control=Path(cwd, flat["control"]),
            cwd=cwd,
            environment=inherited | SERVICE_ENVIRONMENT | dict(flat.get("environment") or {}),
            merge_output=True,
        )

    def __repr__(self) -> str:
        return f"<Cluster {self.app} pid {self.pid}>"

    def _control_path(self, directory: Path) -> Path:
        """Return a path that the kernel takes for a socket: in *directory*, or else a short one."""
        path = directory / "control.sock"
        for place in (None, "/tmp"):  # noqa: S108 - mkdtemp makes a private directory there
            if len(os.fsencode(path)) <= MAX_UNIX_PATH_BYTES:
                break
            if self._short_directory is not None:
                self._short_directory.rmdir()
            self._short_directory = Path(tempfile.mkdtemp(prefix="tornado_multi-", dir=place))
            path = self._short_directory / "control.sock"
        return path

    # --- requests ---------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The TCP port of the first listener; still known when the service has ended.

        Raises: ClusterError: it listens on a unix socket.
        """
        return self._first_listener()[2]

    def url(self, path: str = "/") -> str:
        """Return the URL of a path of the service."""
        self._first_listener()
        return f"{self.addresses[0]}{path}"

    def _first_listener(self) -> tuple[str, str, int]:
        """Return scheme, host and port."""
        parts = urlsplit(self.addresses[0])
        if parts.hostname is None or parts.port is None:
            raise ClusterError(f"the service listens on {self.addresses[0]}, which has no port")
        return parts.scheme, parts.hostname, parts.port

    def get(
        self, path: str = "/", *, headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> Response:
        """Send one GET on a connection of its own; return the answer, whatever its status.

        Raises: OSError, http.client.HTTPException: there was no answer.
        """
        return fetch(self.url(path), headers=headers or {}, timeout_s=timeout_s)

    def load(self, clients: int = 8, path: str = "/") -> Load:
        """Return a context in which keep-alive clients send requests without a pause, in threads.

        It is entered when each client has had a success; ``results`` says how requests ended.
        """
        scheme, host, port = self._first_listener()
        return Load(port, clients, path, host, tls=scheme == "https")

    # --- commands ---------------------------------------------------------------------------------

    def reload(self) -> dict[str, Any]:
        """Load the app anew and wait until the old workers have drained. Returns the report.

        Raises: ReloadFailed: the new code is bad and the old one serves on.
        """
        report: dict[str, Any] = self._ask("reload", {"wait_drain": True})["report"]
        if not report["succeeded"]:
            raise ReloadFailed(report)
        return report

    def scale(self, workers: int) -> None:
        """Change the number of workers and wait until they are ready, or have drained."""
        self._ask("scale", {"workers": workers})

    def restart(self, fork_id: int) -> int:
        """Replace one worker by a fresh one, as ``tornado-multi restart`` does. Returns its pid."""
        self._ask("restart", {"fork_id": fork_id})
        return int(self.worker(fork_id)["pid"])

    def _ask(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the last reply to a command.

        Raises: ClusterError: the command was refused, or nobody answered.
        """
        last: dict[str, Any] = {}
        try:
            with contextlib.closing(connect(ControlSettings(control=str(self.control)))) as asked:
                for reply in asked.ask(
                    Request(command, arguments), timeout_s=self._answer_within_s
                ):
                    last = reply
        except ControlError as error:
            sentence = f"{command} failed: {str(error).rstrip('.')}"
            raise ClusterError(self._with_log(sentence)) from None
        match last.get("event"):
            case "done":
                return last
            case "error":
                raise ClusterError(f"{command} failed: {last['text']}")
            case _:
                raise ClusterError(self._with_log(f"{command} failed: it was not answered"))

    # --- misfortune -------------------------------------------------------------------------------

    def kill(self, fork_id: int) -> int:
        """Send SIGKILL to one worker. Returns the pid that it had."""
        pid = int(self.worker(fork_id)["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_replaced(self, fork_id: int, old_pid: int, *, within_s: float = 30.0) -> int:
        """Wait until *old_pid* is gone and another worker of this fork_id is ready.

        Returns its pid.
        """

        def replaced() -> int | None:
            rows = self.status()["workers"]
            if any(row["pid"] == old_pid for row in rows):
                return None
            ready = [row for row in rows if row["fork_id"] == fork_id and row["state"] == "ready"]
            return int(ready[0]["pid"]) if ready else None

        about = f"worker {fork_id} in the place of pid {old_pid}"
        return self.wait_for(replaced, within_s=within_s, about=about) or 0

    def wait_log(self, text: str, *, within_s: float = 15.0) -> str:
        """Wait until the log has a line with *text*. Returns the first such line, whole."""

        def line() -> str | None:
            *whole, _ = self.log().split("\n")
            return next((line for line in whole if text in line), None)

        about = f"the log has {text!r}"
        return self.wait_for(line, within_s=within_s, about=about) or ""

    # --- the end ----------------------------------------------------------------------------------

    def left_files(self) -> list[Path]:
        """Return the socket and lock files that are still there."""
        lock = self.control.with_name(self.control.name + ".lock")
        paths = [self.control, lock, *self._unix_paths]
        return [path for path in paths if path.exists()]

    def close(self) -> None:
        """Stop the service at once if it still runs, and prove that nothing is left.

        Raises: ClusterError: something was; processes are killed by then.
        """
        try:
            super().close()
        finally:
            if self._short_directory is not None:
                shutil.rmtree(self._short_directory, ignore_errors=True)
