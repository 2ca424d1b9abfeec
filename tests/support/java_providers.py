"""Real Dubbo providers in Java, each in a network of its own: 2.x can't listen on loopback alone.

The service is that of tests/java, whose calls are in ``account_calls``. A provider ends when its standard input
does, so it does not outlive the tests.
Runs in: tests.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support import java_build
from support.networks import LOOPBACK, OwnNetwork
from support.waiting import eventually
from tornado_multi.testing import leash

if TYPE_CHECKING:
    import socket

MODULES = {"2.6.12": "dubbo26", "2.7.23": "dubbo27", "3.3.6": "dubbo33"}
"""By the version of Dubbo, the module of tests/java."""
PORT = 20880
QOS_PORT = 22222
TELNET = "ls,invoke,cd,pwd,ps,status,select,help,exit,count,trace,clear,log"
"""What 2.7.23 takes for its text commands; others have them on anyway."""
FLAGS = [
    *("-Xmx256m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "math", "util")),
    "-Djava.net.preferIPv4Stack=true",
    "-Duser.timezone=UTC",
    "-Ddubbo.application.logger=jdk",
]
_READY = re.compile(r"^READY port=(\d+) qos=(\d+)$", re.MULTILINE)


class JavaProvider:
    """A provider that answers calls, as a context.

    Attributes: host, port, qos_port: where, inside the network. network: the one that it is in.
    """

    def __init__(
        self, dubbo: str, *, network: OwnNetwork | None = None, **options: str | int
    ) -> None:
        """Start it and wait until it serves.

        Args:
            dubbo: a version among MODULES.
            network: where it runs, beside others with other ports; it keeps its own if None.
            options: port, qos, charset, telnet, prompt, heartbeat (ms), payload (bytes), threads,
                accepts, version and group (of the service).
        """
        self.dubbo = dubbo
        self.host = LOOPBACK
        self._class_path = java_build.class_path(MODULES[dubbo])
        options = {"telnet": TELNET} | options if dubbo == "2.7.23" else options
        self._arguments = [f"--{name}={value}" for name, value in options.items()]
        self.directory = Path(tempfile.mkdtemp(prefix="tornado_multi-java-", dir="/tmp"))
        self._own_network = OwnNetwork() if network is None else None
        self.network = network or self._own_network
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """Return what all its processes have logged."""
        return (self.directory / "log").read_text(errors="replace")

    def connect(self, *, within_s: float = 20.0) -> socket.socket:
        """Return a socket, connected to the service port; each wait on it has this limit."""
        return self.network.connect(self.port, within_s=within_s)

    def connect_qos(self, *, within_s: float = 20.0) -> socket.socket:
        """Return a socket, connected to the port for operators."""
        return self.network.connect(self.qos_port, within_s=within_s)

    def stop(self) -> None:
        """Ask it to end, as an operator does; it says goodbye to its clients first."""
        self.process.send_signal(signal.SIGTERM)
        self._wait_end()

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self._wait_end()

    def restart(self) -> None:
        """Start it again at the same place, after its end if it has not ended yet."""
        self.kill()
        self._start()

    def close(self) -> None:
        """End it, and prove that nobody is left in a network of its own."""
        try:
            self.kill()
            if self._own_network is not None:
                self._own_network.wait_empty()
        finally:
            if self._own_network is not None:
                self._own_network.close()
            shutil.rmtree(self.directory)

    def _start(self) -> None:
        said = self.directory / "said"
        java = [
            *(
                "java",
                *FLAGS,
                f"-Duser.home={self.directory}",
                f"-Djava.io.tmpdir={self.directory}",
            ),
            *("-cp", self._class_path, "com.example.Provider", *self._arguments),
        ]
        with said.open("wb") as out, (self.directory / "log").open("ab") as log:
            self.process = leash.spawn(
                self.network.entering(["setpriv", "--pdeathsig", "KILL", *java]),
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

        def ready() -> re.Match[str] | None:
            assert self.process.poll() is None, f"the provider ended: {self.log()}"
            return _READY.search(said.read_text())

        try:
            found = eventually(ready, within_s=90, about="the provider serves", log=self.log)
        except BaseException:
            self.close()
            raise
        self.port, self.qos_port = map(int, found.groups())

    def _wait_end(self) -> None:
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(10)
            assert self.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
