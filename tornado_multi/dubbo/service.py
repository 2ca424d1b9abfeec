"""A service whose methods are called by their names. Runs in: any process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado_multi.dubbo.client import DubboClient


class Service:
    """A service of a client: its methods are those of the Java interface.

    ``await service.getByAccountId(1)``; by name, for overloads and options: ``await
    service.getByAccountId(1, types=["long"], timeout_s=2)``.
    """

    def __init__(self, client: DubboClient, name: str, version: str, group: str | None) -> None:
        self._client = client
        self._name = name
        self._version = version
        self._group = group

    def __repr__(self) -> str:
        return f"<Service {self._name} of {self._client!r}>"

    async def invoke(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method by its name; options are those of ``DubboClient.invoke``."""
        return await self._client.invoke(
            self._name, method, *args, version=self._version, group=self._group, **options
        )

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("__") or method == "fileno":  # which many ask of any object
            raise AttributeError(method)
        return functools.partial(self.invoke, method)
