"""A supervisor and its tree for one test: started, asked, killed, and proved to be gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from support import processes
from support.waiting import eventually
from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.process.linux import become_child_subreaper
from tornado_multi.settings.model import ControlSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
VICTIMS = REPOSITORY / "tests" / "victims"


class Cluster:
    """One ``serve`` process in a session of its own."""

    def __init__(
        self,
        directory: Path,
        app: str = "hello:make_app",
        *,
        workers: int | None = 2,
        options: Sequence[str] = (),
        bind: Sequence[str] = ("127.0.0.1:0",),
        chdir: Path = VICTIMS,
        environment: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        app_arguments: Sequence[str] | None = None,
        control: Path | None = None,
        nofile_soft: int | None = None,
        closed_streams: bool = False,
        python_flags: Sequence[str] = (),
        log_fd: int | None = None,
    ) -> None:
        become_child_subreaper()
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.control = control or directory / "control.sock"
        self._log_path = directory / "log"
        self._output_path = directory / "output"
        command = [sys.executable, *python_flags, "-m", "tornado_multi", "serve", app]
        command += ["--control", str(self.control)]
        if workers is not None:
            command += ["--workers", str(workers)]
        command += ["--chdir", str(chdir)]
        for address in bind:
            command += ["--bind", address]
        command += options
        if app_arguments is not None:
            command += ["--", *app_arguments]
        if nofile_soft is not None:
            command = ["sh", "-c", f'ulimit -Sn {nofile_soft} && exec "$@"', "sh", *command]
        if closed_streams:
            command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
        with self._log_path.open("wb") as log, self._output_path.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log if log_fd is None else log_fd,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        self.pid = self.process.pid

    # --- asking -----------------------------------------------------------------------------------

    def wait_ready(self, within_s: float = 30.0) -> Cluster:
        """Wait until every worker is ready; fail at once if the supervisor ends."""

        def ready() -> bool:
            code = self.process.poll()
            assert code is None, f"the supervisor ended with {code}:\n{self.log()}"
            status = self.try_status()
            return status is not None and status["state"] == "serving"

        eventually(ready, within_s=within_s, about=f"serving; log:\n{self.log()}")
        return self

    def try_status(self) -> dict[str, Any] | None:
        try:
            connection = connect(ControlSettings(control=str(self.control)))
            replies = list(connection.ask(Request("status")))
        except (ControlError, OSError):
            return None
        connection.close()
        return replies[-1].get("status") if replies else None

    def status(self) -> dict[str, Any]:
        status = self.try_status()
        assert status is not None, f"no status; log:\n{self.log()}"
        return status

    def workers(self, state: str = "ready") -> list[dict[str, Any]]:
        return [row for row in self.status()["workers"] if row["state"] == state]

    def worker_pids(self) -> list[int]:
        return [row["pid"] for row in self.workers()]

    def worker(self, fork_id: int) -> dict[str, Any]:
        """Return the ready row of one fork_id, waiting while it is being replaced."""
        rows = eventually(
            lambda: [row for row in self.workers() if row["fork_id"] == fork_id], about="ready row"
        )
        return rows[0]

    def zygote_pid(self) -> int:
        ready = [item for item in self.status()["zygotes"] if item["state"] == "ready"]
        return int(ready[-1]["pid"])

    def address(self, index: int = 0) -> str:
        return str(self.status()["listeners"][index]["address"])

    def port(self) -> int:
        return urlsplit(self.address()).port or 0

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def output(self) -> str:
        return self._output_path.read_text(errors="replace")

    def get(self, path: str = "/", timeout_s: float = 30.0) -> bytes:
        """Return the body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, f"{response.status} {body!r}"
            return body

    def get_json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port()), timeout=30)

    # --- acting -----------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_gone(self, within_s: float = 40.0) -> int:
        """Wait for the supervisor's end; return its exit code."""
        return self.process.wait(within_s)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_gone()

    def leftovers(self) -> list[processes.Process]:
        """Return what is left of the tree.

        When the supervisor is gone, this process is what the orphans fall to (as a container's
        init would be), so it collects those that have ended.
        """
        left = processes.session(self.pid)
        for process in left:
            if process.state == "Z" and process.pid != self.pid and self.process.poll() is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        return [process for process in left if processes.read_process(process.pid)]

    def close(self) -> None:
        """Stop the service if it still runs, and prove that nothing is left."""
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError(f"INT did not end the service; log:\n{self.log()}") from None
        try:
            eventually(lambda: not self.leftovers(), within_s=5, about="processes left")
        except AssertionError:
            left = self.leftovers()
            self.kill_all()
            raise AssertionError(f"left behind: {left}; log:\n{self.log()}") from None
        left_files = {path.name for path in self.directory.iterdir()} - {"log", "output"}
        assert not {name for name in left_files if ".sock" in name}, f"left behind: {left_files}"

    def kill_all(self) -> None:
        """Last resort for a failing test: end every process of our own session."""
        for process in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait(10)


def is_listening(port: int) -> bool:
    """Tell whether something accepts TCP connections on 127.0.0.1:*port*."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def can_bind(port: int) -> bool:
    """Tell whether a fresh server could take the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
