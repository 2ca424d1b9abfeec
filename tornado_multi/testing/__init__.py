"""For users' own tests: real services of a test, as fixtures of pytest.

The plugin is loaded in every run of pytest where the package is installed, so nothing here is
imported before a test asks for it (PEP 562). Must not know: supervisor, zygote, worker, cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_multi.testing.cluster import Cluster
    from tornado_multi.testing.errors import BootFailed, ClusterError, OptionError, ReloadFailed
    from tornado_multi.testing.fetching import Response
    from tornado_multi.testing.load import Load
    from tornado_multi.testing.starting import ClusterFactory
    from tornado_multi.testing.waiting import wait_for

__all__ = [
    "BootFailed",
    "Cluster",
    "ClusterError",
    "ClusterFactory",
    "Load",
    "OptionError",
    "ReloadFailed",
    "Response",
    "wait_for",
]

_HOMES = {
    "BootFailed": "errors",
    "Cluster": "cluster",
    "ClusterError": "errors",
    "ClusterFactory": "starting",
    "Load": "load",
    "OptionError": "errors",
    "ReloadFailed": "errors",
    "Response": "fetching",
    "wait_for": "waiting",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home the first time it is asked for."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
