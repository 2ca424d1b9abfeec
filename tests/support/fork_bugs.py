"""Runs a program of ``tests/victims/fork_bugs`` forked by Tornado alone, and as an app of ``serve``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.auditing import check
from support.cluster import VICTIMS
from support.commands import run_command
from support.marks import Mark, marks
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import StartCluster

    from support.auditing import Finding
    from support.cluster import Cluster


@dataclass(frozen=True)
class Outcome:
    """What each process has seen: ``{"value": ...}`` or ``{"error": "Type: text"}``."""

    children: list[dict[str, Any]]
    parent: dict[str, Any]
    log: str
    """Standard error."""

    def values(self) -> list[Any]:
        """Return what the children returned; none of them may have failed."""
        return [child["value"] for child in self.children]


class ForkBug:
    """One program, in a directory of its own for each way to run it."""

    def __init__(
        self, name: str, children: int, directory: Path, environment: dict[str, str]
    ) -> None:
        self._name = name
        self._children = children
        self._environment = environment
        self._plain, self.served_in = directory / "plain", directory / "served"
        for made in (self._plain, self.served_in):
            made.mkdir(parents=True)

    @property
    def plain_in(self) -> Path:
        """Where the plain program writes its files."""
        return self._plain

    def marks(self, kind: str | None = None) -> list[Mark]:
        """Return the lines that are to be named, of one kind or of all."""
        found = marks(VICTIMS / "fork_bugs" / f"{self._name}.py")
        return [mark for mark in found if kind in {None, mark.kind}]

    def variables(self, directory: Path) -> dict[str, str]:
        return self._environment | {
            "FORK_BUG": self._name,
            "FORK_BUG_CHILDREN": str(self._children),
            "FORK_BUG_DIRECTORY": str(directory),
        }

    def plain(self) -> Outcome:
        """Fork the children with Tornado's fork_processes, in a fresh interpreter."""
        done = subprocess.run(
            [sys.executable, "-m", "fork_bugs.plain"],
            cwd=VICTIMS,
            env=os.environ | self.variables(self._plain),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return self._outcome(self._plain, done.stderr)

    def served(
        self, start: StartCluster, between: Callable[[Cluster], object] | None = None
    ) -> Outcome:
        """Run the children as workers, then one worker more, before which the zygote looks.

        Args: between: what happens to the service when the first workers are ready.
        """
        made = start(
            "fork_bugs.served:make_app",
            workers=self._children,
            environment=self.variables(self.served_in),
        )
        if between is not None:
            between(made)
        grown = run_command(made, "scale", str(self._children + 1))
        assert grown.returncode == 0, f"{grown.stderr}\n{made.log()}"
        return self._outcome(self.served_in, made.log())

    def audit(self) -> list[Finding]:
        """Return what ``check`` finds in the program."""
        directory = self.served_in.with_name("audited")
        directory.mkdir()
        return check("fork_bugs.served:make_app", self.variables(directory))

    def _outcome(self, directory: Path, log: str) -> Outcome:
        def read(who: str) -> dict[str, Any]:
            path = directory / f"{who}.json"
            assert path.exists(), f"{who} wrote nothing: {log}"
            read: dict[str, Any] = json.loads(path.read_text())
            return read

        children = [read(f"child-{index}") for index in range(self._children)]
        return Outcome(children, read("parent"), log)


def restart_by(act: Callable[[Cluster, int], object]) -> Callable[[Cluster], None]:
    """Return what ends worker 0 by *act*, given the cluster and the pid, and awaits its successor."""

    def restart(made: Cluster) -> None:
        pid = made.worker(0)["pid"]
        act(made, pid)
        eventually(lambda: made.worker(0)["pid"] != pid, within_s=30, log=made.log)

    return restart
