"""A real ZooKeeper in a network of a test's own. Runs in: tests."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support import java_build
from support.java_providers import FLAGS
from support.waiting import eventually
from tornado_multi.testing import leash

if TYPE_CHECKING:
    from support.networks import OwnNetwork

PORT = 2181
CONFIGURATION = """\
dataDir={directory}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
tickTime=500
"""


class ZooKeeperServer:
    """One server, as a context; its data are kept while it is stopped."""

    def __init__(self, network: OwnNetwork) -> None:
        self.hosts = f"127.0.0.1:{PORT}"
        self._network = network
        self._directory = Path(tempfile.mkdtemp(prefix="tornado_multi-zookeeper-", dir="/tmp"))
        text = CONFIGURATION.format(directory=self._directory, port=PORT)
        (self._directory / "zoo.cfg").write_text(text)
        self._class_path = java_build.class_path("dubbo33")
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._directory)

    def start(self) -> None:
        """Start it and wait until it listens."""
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        command = ["java", *FLAGS, "-cp", self._class_path, main, f"{self._directory}/zoo.cfg"]
        with (self._directory / "log").open("ab") as log:
            self._process = leash.spawn(
                self._network.entering(["setpriv", "--pdeathsig", "KILL", *command]),
                cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

        def answers() -> bool:
            assert self._process.poll() is None, (self._directory / "log").read_text()
            with contextlib.suppress(OSError):
                self._network.connect(PORT).close()
                return True
            return False

        eventually(answers, within_s=60, about="ZooKeeper listens")

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait(10)
