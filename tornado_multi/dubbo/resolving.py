"""Where the providers of a service are: a fixed list, names in DNS, or what a registry tells.

Runs in: any process, on its loop.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tornado_multi.dubbo.addresses import DEFAULT_PORT, Address, parse_address
from tornado_multi.dubbo.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@runtime_checkable
class Resolver(Protocol):
    """Tells the client where to call. Asked at each call, so it answers from memory if it can."""

    async def resolve(self, service: str, version: str, group: str | None) -> Sequence[Address]:
        """Return the addresses of a service's providers.

        Raises: UnreachableError: there is none that is known.
        """

    async def close(self) -> None:
        """Give up what it holds open."""


class FixedAddresses:
    """Always the same."""

    def __init__(
        self, addresses: Iterable[str | Address], default_port: int = DEFAULT_PORT
    ) -> None:
        self._addresses = tuple(
            item if isinstance(item, Address) else parse_address(item, default_port)
            for item in addresses
        )
        if not self._addresses:
            raise ValueError("A client needs the address of at least one provider.")

    def __repr__(self) -> str:
        return ", ".join(map(str, self._addresses))

    async def resolve(self, service: str, version: str, group: str | None) -> Sequence[Address]:  # noqa: ARG002 - the same for all
        """Return them."""
        return self._addresses

    async def close(self) -> None:
        """Do nothing."""


class DnsAddresses:
    """Every address that a name has; each of them is a provider of its own.

    The last answer is kept while DNS fails.
    """

    def __init__(self, host: str, port: int = DEFAULT_PORT, refresh_s: float = 30.0) -> None:
        self._host, self._port, self._refresh_s = host, port, refresh_s
        self._addresses: tuple[Address, ...] = ()
        self._old_at_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._why_none: object = "it has no address"

    def __repr__(self) -> str:
        return f"DNS {self._host}:{self._port}"

    async def resolve(self, service: str, version: str, group: str | None) -> Sequence[Address]:  # noqa: ARG002 - the same for all
        """Return them. Raises: UnreachableError: the name has never had any."""
        loop = asyncio.get_running_loop()
        if self._addresses and loop.time() < self._old_at_s:
            return self._addresses
        asking = self._asking
        if asking is None or asking.done() or asking.get_loop() is not loop:
            asking = self._asking = loop.create_task(self._look_up(loop))
        if not self._addresses:  # else the old ones serve meanwhile
            await asyncio.shield(asking)
        if not self._addresses:
            raise UnreachableError(f"The name {self._host} can't be resolved: {self._why_none}.")
        return self._addresses

    async def _look_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask once for all who wait."""
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._why_none = getattr(error, "strerror", None) or error
        else:
            self._addresses = tuple(dict.fromkeys(Address(*item[4][:2]) for item in found))
        self._old_at_s = loop.time() + self._refresh_s

    async def close(self) -> None:
        """Do nothing."""
