"""What all parts of a configuration are made from, and the names and figures they share. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado_multi.settings.model import service_name

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.addresses import Peer
    from tornado_multi.deploy.nginx.versions import Nginx
    from tornado_multi.settings.model import Settings
    from tornado_multi.settings.nginx import NginxSettings

MOST_NAME_LETTERS = 30
"""With what follows it in the name of a variable: nginx's table of them has room for 46 by default
(variables_hash_bucket_size, a line of the processor's cache)."""
DIGEST_LETTERS = 8
MOST_UPSTREAM_KEEPALIVE_S = 60.0
SHARE_OF_IDLE = 0.8
"""Of the service's own patience with idle connections: nginx must be the first to close one, or a
request of it could meet the close. 75 s become 60 s."""
PRIVATE_LISTEN = "127.0.0.1:18081"
"""No unix socket: an nginx that is killed leaves it behind, and then does not start any more."""


@dataclass(frozen=True, slots=True)
class Private:
    """Where nginx tells its figures, and which configuration it runs."""

    listen: str
    """``unix:/path`` or ``127.0.0.1:port``."""
    name: str
    """The host name to ask for: several services may share the address."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One configuration to be written."""

    settings: Settings
    options: NginxSettings
    nginx: Nginx
    peers: tuple[Peer, ...]

    @property
    def name(self) -> str:
        """The service's name as nginx takes it in names of upstreams, zones and variables."""
        word = re.sub(r"[^a-z0-9_]+", "_", service_name(self.settings).lower())
        word = word if word[:1].isalpha() else f"app_{word}"
        if len(word) <= MOST_NAME_LETTERS:
            return word
        digest = hashlib.sha256(word.encode()).hexdigest()[:DIGEST_LETTERS]
        return f"{word[: MOST_NAME_LETTERS - DIGEST_LETTERS - 1]}_{digest}"

    @property
    def upstream(self) -> str:
        return self.name

    @property
    def has_tls(self) -> bool:
        return self.options.certificate is not None

    @property
    def private(self) -> Private:
        return Private(self.options.private_listen or PRIVATE_LISTEN, f"{self.name}.private")

    @property
    def upstream_url(self) -> str:
        scheme = "https" if self.settings.tls.tls_certificate is not None else "http"
        return f"{scheme}://{self.upstream}"

    @property
    def upstream_keepalive_s(self) -> float:
        return min(MOST_UPSTREAM_KEEPALIVE_S, SHARE_OF_IDLE * self.settings.http.idle_timeout_s)

    def variable(self, word: str) -> str:
        """Return the name of a variable of ours: two services may share one nginx."""
        return f"${self.name}_{word}"


def seconds(value_s: float) -> str:
    """Write a duration: ``60s``, ``1500ms``; never 0, which means something else to nginx."""
    if value_s == int(value_s):
        return f"{int(value_s)}s"
    return f"{max(1, round(value_s * 1000))}ms"


def size(value_bytes: int) -> str:
    """Write a size: ``100m``, ``64k``, ``1000``."""
    for unit, factor in (("m", 1024 * 1024), ("k", 1024)):
        if value_bytes and value_bytes % factor == 0:
            return f"{value_bytes // factor}{unit}"
    return str(value_bytes)
