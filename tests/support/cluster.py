"""A supervisor and its tree for one test, with the odd ways to start it that only our tests need."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from support import processes
from tornado_multi.process.linux import become_child_subreaper
from tornado_multi.testing.fetching import fetch
from tornado_multi.testing.leash import leashed
from tornado_multi.testing.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
VICTIMS = REPOSITORY / "tests" / "victims"
AS_PROCESS_1 = [
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    # The leash looks for its parent, which a process 1 does not see: unshare is leashed instead.
    *("sh", "-c", 'python=$1 && shift 4 && exec "$python" -m tornado_multi "$@"', "sh"),
]
"""Makes ``PYTHON -m LEASH PID serve ...`` process 1 of a namespace of its own; needs root."""


class Cluster(Tree):
    """One ``serve`` process in a session of its own."""

    _is_process_1 = False

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
        wrapper: Sequence[str] = (),
        as_process_1: bool = False,
        command: str = "serve",
    ) -> None:
        """Start.

        Args: wrapper: a command that becomes the one that is appended to it.
        """
        become_child_subreaper()
        control = control or directory / "control.sock"
        arguments = [app, "--control", str(control)]
        if workers is not None:
            arguments += ["--workers", str(workers)]
        arguments += ["--chdir", str(chdir)]
        for address in bind:
            arguments += ["--bind", address]
        arguments += options
        if app_arguments is not None:
            arguments += ["--", *app_arguments]
        self._is_process_1 = as_process_1
        wrappers = [*wrapper]
        if as_process_1:
            wrappers += AS_PROCESS_1
        if closed_streams:
            wrappers += ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
        if nofile_soft is not None:
            wrappers += ["sh", "-c", f'ulimit -Sn {nofile_soft} && exec "$@"', "sh"]
        super().__init__(
            directory,
            leashed([command, *arguments], python_flags),
            control=control,
            cwd=REPOSITORY,
            environment={**os.environ, **(environment or {})},
            wrapper=wrappers,
            pass_fds=pass_fds,
            log_fd=log_fd,
        )

    # --- asking -----------------------------------------------------------------------------------

    def zygote_pid(self) -> int:
        ready = [item for item in self.status()["zygotes"] if item["state"] == "ready"]
        return int(ready[-1]["pid"])

    def address(self, index: int = 0) -> str:
        return self.addresses[index]

    def port(self) -> int:
        return urlsplit(self.address()).port or 0

    def output(self) -> str:
        return self._output_path.read_text(errors="replace")

    def get(self, path: str = "/", timeout_s: float = 30.0) -> bytes:
        """Return the body of one request on a connection of its own."""
        url = f"http://127.0.0.1:{self.port()}{path}"
        response = fetch(url, headers={}, timeout_s=timeout_s)
        assert response.status == 200, f"{response.status} {response.body!r}"
        return response.body

    def get_json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port()), timeout=30)

    def supervisor_pid(self) -> int:
        """Return the supervisor's pid as it is known here, also if it is 1 in its namespace."""
        if not self._is_process_1:
            return self.pid
        found = self.wait_for(lambda: processes.children(self.pid), about="a child of unshare")
        return found[0].pid

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor itself: unshare would keep it to itself."""
        if self._is_process_1:
            os.kill(self.supervisor_pid(), number)
        else:
            super().signal(number)

    def leftovers(self) -> list[processes.Process]:
        """Return what is left of the tree, zombies included.

        When the supervisor is gone, this process is what the orphans fall to (as a container's
        init would be), so it collects those that have ended.
        """
        left = processes.session(self.pid)
        for process in left:
            if process.state == "Z" and process.pid != self.pid and self.process.poll() is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        return [process for process in left if processes.read_process(process.pid)]


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
