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
from tornado_multi.testing.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
VICTIMS = REPOSITORY / "tests" / "victims"


class Cluster(Tree):
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
        wrapper = []
        if closed_streams:
            wrapper += ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
        if nofile_soft is not None:
            wrapper += ["sh", "-c", f'ulimit -Sn {nofile_soft} && exec "$@"', "sh"]
        super().__init__(
            directory,
            arguments,
            control=control,
            cwd=REPOSITORY,
            environment={**os.environ, **(environment or {})},
            flags=python_flags,
            wrapper=wrapper,
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
