"""tornado_multi: run a Tornado service as many supervised processes.

The public names are resolved on first use (PEP 562): importing the package opens, starts and reads
nothing, and the supervisor, which imports it too, never loads Tornado through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.version import VERSION as __version__  # noqa: N811 - the name that tools look for

if TYPE_CHECKING:
    from tornado_multi.dubbo.client import DubboClient
    from tornado_multi.forksafety.suppression import fork_safe
    from tornado_multi.logs.handler import PerProcessFileHandler
    from tornado_multi.logs.request_id import request_id
    from tornado_multi.logs.setup import get_logger
    from tornado_multi.process.draining import draining
    from tornado_multi.process.identity import fork_id
    from tornado_multi.resources.closing import close_resources
    from tornado_multi.resources.guards import ForkedResourceError
    from tornado_multi.resources.per_process import PerProcess, per_process
    from tornado_multi.script.main import bind_sockets, fork_processes

__all__ = [
    "DubboClient",
    "ForkedResourceError",
    "PerProcess",
    "PerProcessFileHandler",
    "__version__",
    "bind_sockets",
    "close_resources",
    "draining",
    "fork_id",
    "fork_processes",
    "fork_safe",
    "get_logger",
    "per_process",
    "request_id",
]

_HOMES = {
    "DubboClient": "tornado_multi.dubbo.client",
    "ForkedResourceError": "tornado_multi.resources.guards",
    "PerProcess": "tornado_multi.resources.per_process",
    "PerProcessFileHandler": "tornado_multi.logs.handler",
    "bind_sockets": "tornado_multi.script.main",
    "close_resources": "tornado_multi.resources.closing",
    "draining": "tornado_multi.process.draining",
    "fork_id": "tornado_multi.process.identity",
    "fork_processes": "tornado_multi.script.main",
    "fork_safe": "tornado_multi.forksafety.suppression",
    "get_logger": "tornado_multi.logs.setup",
    "per_process": "tornado_multi.resources.per_process",
    "request_id": "tornado_multi.logs.request_id",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home the first time it is asked for."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
