"""What a client has in one process, on one loop: connections, and how providers have done.

Runs in: any process, on its loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado_multi.dubbo.endpoints import make_endpoint
from tornado_multi.dubbo.standing import Standing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.endpoints import Endpoint
    from tornado_multi.dubbo.options import Options

Where = tuple[str, str, "str | None"]
"""service, version and group"""
FORGOTTEN_AFTER_S = 600.0
"""A provider that no resolver has named for so long is let go when another one comes."""


@dataclass(slots=True)
class Live:
    """What a client has in one process, on one loop."""

    epoch: int
    loop: asyncio.AbstractEventLoop
    endpoints: dict[Address, Endpoint] = field(default_factory=dict)
    standings: dict[Address, Standing] = field(default_factory=dict)
    unknown_since_s: dict[Where, float] = field(default_factory=dict)
    """Since when the resolver knows nobody"""
    is_closed: bool = False

    def close(self) -> None:
        """Close all connections; without a loop they end when they are collected."""
        self.is_closed = True
        if not self.loop.is_closed():
            for endpoint in self.endpoints.values():
                endpoint.close()

    def unknown_since(self, where: Where) -> float:
        """Return since when nobody is known there: since now, if that is new."""
        return self.unknown_since_s.setdefault(where, self.loop.time())

    def standings_of(
        self, addresses: Sequence[Address], options: Options
    ) -> dict[Address, Standing]:
        """Return how the providers at these addresses have done; an endpoint opens nothing by itself."""
        now_s = self.loop.time()
        found = {}
        for address in addresses:
            standing = self.standings.get(address)
            if standing is None:
                self._forget(now_s)
                self.endpoints[address] = make_endpoint(address, options)
                standing = self.standings[address] = Standing()
            standing.named_s = now_s
            found[address] = standing
        return found

    def _forget(self, now_s: float) -> None:
        """Close the connections to providers that are gone: what a registry tells changes."""
        for address, standing in list(self.standings.items()):
            if not standing.active and now_s - standing.named_s > FORGOTTEN_AFTER_S:
                self.endpoints.pop(address).close()
                del self.standings[address]
