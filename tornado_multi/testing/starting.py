"""The services of one test: what its markers say, where its app is, and their end. Runs in: tests.

Knows nothing of pytest; the plugin hands in what it needs of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tornado_multi.testing.cluster import Cluster
from tornado_multi.testing.errors import HIDE_OUR_FRAMES, OptionError
from tornado_multi.testing.options import flatten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    Marker = tuple[Sequence[Any], Mapping[str, Any]]


__tracebackhide__ = HIDE_OUR_FRAMES


class ClusterFactory(Protocol):
    """What the fixture ``cluster_factory`` is: starts a service, and waits until it is ready."""

    def __call__(self, app: str | None = None, *, ready: bool = True, **options: Any) -> Cluster:
        """Start a service with these options and those of the markers."""


def merge_markers(markers: Iterable[Marker]) -> dict[str, Any]:
    """Return the options of markers as one; for each option the first marker that has it wins.

    Args: markers: arguments and keywords of each, the nearest first.
    Raises: OptionError: an unknown option, or an app that is none.
    """
    merged: dict[str, Any] = {}
    for positional, keywords in markers:
        if len(positional) > 1:
            raise OptionError(f"The marker tornado_multi takes one app, not {len(positional)}.")
        own = dict(zip(("app",), positional, strict=False)) | dict(keywords)
        merged = flatten(own) | merged
    return merged


def app_directory(app: str, root: Path, test_directory: Path) -> Path:
    """Return where the app is: the test file's directory if its module is only there, or *root*."""
    top = app.partition(":")[0].partition(".")[0]

    def holds(directory: Path) -> bool:
        return (directory / f"{top}.py").is_file() or (directory / top).is_dir()

    return test_directory if holds(test_directory) and not holds(root) else root


@dataclass
class Starter:
    """Starts the services of one test and ends them."""

    directory: Path
    """For logs and control sockets."""
    root: Path
    """Of the tests: where the services run."""
    test_directory: Path
    marked: dict[str, Any]
    """Flat options of the markers."""
    default_app: str
    import_path: Sequence[Path] = ()
    """What the services can import beside their app's directory."""
    started: list[Cluster] = field(default_factory=list)

    def __call__(self, app: str | None = None, *, ready: bool = True, **options: Any) -> Cluster:
        """Start a service with these options and those of the markers.

        Args:
            app: ``module:attr``; without it that of the nearest marker, or of the ini file.
            ready: wait until every worker is ready.
        Raises: OptionError: they can't be understood; BootFailed: the service ended.
        """
        flat = self.marked | flatten(options)
        app = app or flat.get("app") or self.default_app
        if not app:
            raise OptionError(
                "No app: name it in the marker, as in "
                '@pytest.mark.tornado_multi("shop:make_app"), or set tornado_multi_app in the '
                "configuration of pytest."
            )
        flat["environment"] = self._with_import_path(flat.get("environment") or {})
        made = Cluster(
            self.directory / f"tornado_multi-{len(self.started)}",
            app,
            flat,
            chdir=app_directory(app, self.root, self.test_directory),
            cwd=self.root,
        )
        self.started.append(made)
        return made.wait_ready() if ready else made

    def _with_import_path(self, environment: Mapping[str, str]) -> dict[str, str]:
        inherited = environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        path = [*map(str, self.import_path), *filter(None, [inherited])]
        return dict(environment) | ({"PYTHONPATH": os.pathsep.join(path)} if path else {})

    def close(self) -> list[str]:
        """End every service. Returns what was wrong with their ends."""
        problems = []
        for made in self.started:
            try:
                made.close()
            except Exception as problem:  # noqa: BLE001 - the others are to end too
                problems.append(f"{made.app}: {problem}")
        return problems
