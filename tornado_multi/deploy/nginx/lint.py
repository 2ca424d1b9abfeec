"""What in an existing configuration would hurt an app of Tornado behind it. Pure.

Judged are the servers and locations that pass requests to an app by ``proxy_pass``: to an upstream,
to an address, or to a name that doesn't look like a public service. All others are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.deploy.nginx.linting import headers, limits, servers, upstreams
from tornado_multi.deploy.nginx.linting.asking import Asked
from tornado_multi.deploy.nginx.linting.configuration import Configuration
from tornado_multi.settings.model import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tornado_multi.deploy.nginx.linting.kinds import Finding
    from tornado_multi.deploy.nginx.tree import Directive
    from tornado_multi.deploy.nginx.versions import Nginx

RULES: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    upstreams.max_fails,
    upstreams.no_zone,
    upstreams.keepalive,
    upstreams.connect_timeout,
    upstreams.resolved_once,
    upstreams.retries,
    headers.websockets,
    headers.host,
    headers.client,
    headers.lost_headers,
    headers.lost_add_headers,
    limits.body_size,
    limits.streams,
    servers.query_string,
    servers.static_files,
    servers.shutdown_timeout,
    servers.default_server,
    servers.server_tokens,
    servers.listen_http2,
)


def lint(
    tree: tuple[Directive, ...],
    http: HttpSettings | None = None,
    *,
    nginx: Nginx | None = None,
) -> tuple[Finding, ...]:
    """Return what would hurt, worst first, then by place.

    Args:
        tree: what ``reading`` or ``including`` gave, or ``generate`` made.
        http: the app's limits; None: the defaults.
        nginx: what reads it; None: not known.
    """
    asked = Asked(Configuration(tree), http or HttpSettings(), nginx)
    # A directive that many locations inherit is one thing to mend.
    found = {
        (one.kind, one.file, one.line, one.mend): one
        for rule in reversed(RULES)
        for one in reversed(tuple(rule(asked)))
    }
    return tuple(
        sorted(found.values(), key=lambda one: (one.severity, one.file, one.line, one.kind))
    )


def passes_requests(tree: tuple[Directive, ...]) -> bool:
    """Tell whether there is anything to judge."""
    return bool(Configuration(tree).judged)


def to_plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON-ready data."""
    return {
        "kind": finding.kind,
        "severity": finding.severity.word,
        "file": finding.file,
        "line": finding.line,
        "what": finding.what,
        "harm": finding.harm,
        "mend": finding.mend,
    }
