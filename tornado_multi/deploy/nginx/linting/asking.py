"""What rules are given beside the configuration, and how they speak of many locations at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado_multi.deploy.nginx.linting.configuration import Configuration, Proxied, Upstream
    from tornado_multi.deploy.nginx.versions import Nginx
    from tornado_multi.settings.model import HttpSettings


@dataclass(frozen=True, slots=True)
class Asked:
    """One configuration to judge, with what is known of app and nginx."""

    configuration: Configuration
    http: HttpSettings
    """The app's own limits."""
    nginx: Nginx | None
    """What reads it; None: not known. Then it is taken for old, and nothing is called outdated."""

    def can(self, feature: str) -> bool:
        """Tell whether nginx is known to have a feature of ``GATES``."""
        return self.nginx is not None and self.nginx.can(feature)

    @property
    def keeps_by_default(self) -> bool:
        """Tell whether nginx speaks HTTP/1.1 and keeps connections unless told otherwise."""
        return self.can("upstream_keepalive_default")

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
