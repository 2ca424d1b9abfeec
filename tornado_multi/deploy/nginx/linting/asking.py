"""What rules are given beside the configuration, and how they speak of many locations at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado_multi.deploy.nginx.linting.configuration import Configuration, Proxied, Upstream
    from tornado_multi.settings.model import HttpSettings

KEEPALIVE_BY_DEFAULT = (1, 29, 7)
"""From here on proxies speak HTTP/1.1 and keep connections unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One configuration to judge, with what is known of app and nginx."""

    configuration: Configuration
    http: HttpSettings
    """The app's own limits."""
    nginx: tuple[int, ...] | None = None
    """Version of nginx; None: not known, and an old one is assumed, but nothing called outdated."""

    def is_from(self, *version: int) -> bool:
        """Tell whether nginx is known to be of this version or later."""
        return self.nginx is not None and self.nginx >= version

    @property
    def keeps_by_default(self) -> bool:
        return self.is_from(*KEEPALIVE_BY_DEFAULT)

    def proxied(self) -> Iterator[Proxied]:
        """Yield each block that passes requests to an app, in order."""
        for server in self.configuration.judged:
            yield from server.proxied

    def used_upstreams(self) -> dict[str, tuple[Upstream, list[Proxied]]]:
        """Return the upstreams that are passed requests, each with the blocks that do so."""
        used: dict[str, tuple[Upstream, list[Proxied]]] = {}
        for one in self.proxied():
            if one.upstream is not None:
                used.setdefault(one.upstream.name, (one.upstream, []))[1].append(one)
        return used


def titles(guilty: Sequence[Proxied]) -> str:
    """Name some blocks of one server: ``location / and 2 more``."""
    first = guilty[0].title
    more = len({one.title for one in guilty}) - 1
    return f"{first} and {more} more" if more else first
