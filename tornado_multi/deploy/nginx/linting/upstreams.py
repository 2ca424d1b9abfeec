"""Rules on upstreams: failures, balancing, connections that are kept, retries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.linting.asking import titles
from tornado_multi.deploy.nginx.linting.kinds import Severity, found
from tornado_multi.deploy.nginx.linting.values import parse_time_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.linting.asking import Asked
    from tornado_multi.deploy.nginx.linting.configuration import Proxied, Upstream
    from tornado_multi.deploy.nginx.linting.kinds import Finding
    from tornado_multi.deploy.nginx.linting.scopes import Scope
    from tornado_multi.deploy.nginx.tree import Directive

SLOW_CONNECT_S = 10
"""A remote app that takes longer to accept is taken for gone; nginx waits for 60 s by default."""
SHARED_METHODS = ("least_conn", "least_time", "random")
"""Balancing by counts, which a zone shares among nginx workers."""


def max_fails(asked: Asked) -> Iterator[Finding]:
    """Find servers of this machine that one failure would eject."""
    for upstream, _ in asked.used_upstreams().values():
        serving = [peer for peer in upstream.peers if "down" not in peer.parameters]
        if len(serving) < 2:  # nginx never ejects the only one
            continue
        local = [peer for peer in serving if peer.is_local and peer.parameter("max_fails") != "0"]
        if local:
            value = local[0].parameter("max_fails")
            said = f"max_fails={value}" if value else "no max_fails, which means 1"
            more = f", and {len(local) - 1} more" if len(local) > 1 else ""
            yield found(
                "max-fails",
                local[0].directive,
                f"upstream {upstream.name}: {local[0].address} has {said}{more}",
                mend=f"server {local[0].address} max_fails=0; and so on for each.",
            )


def no_zone(asked: Asked) -> Iterator[Finding]:
    """Find groups whose state each nginx worker keeps for itself."""
    configuration = asked.configuration
    processes = configuration.main.own("worker_processes")
    count = processes[0].args[0] if processes and processes[0].args else "1"
    if configuration.is_whole and count == "1":
        return
    for upstream, _ in asked.used_upstreams().values():
        if len(upstream.peers) < 2 or upstream.scope.own("zone"):
            continue
        counts = any(upstream.scope.own(method) for method in SHARED_METHODS) or any(
            peer.parameter("max_fails") != "0" or peer.parameter("max_conns")
            for peer in upstream.peers
        )
        certain = counts and configuration.is_whole
        yield found(
            "no-zone",
            _directive(upstream.scope),
            f"upstream {upstream.name} has no zone",
            mend=f"zone {upstream.name} 128k;",
            severity=None if certain else Severity.INFO,
        )


def keepalive(asked: Asked) -> Iterator[Finding]:
    """Connections to the app: not kept, kept in vain, told to close, or kept too long."""
    for upstream, users in asked.used_upstreams().values():
        kept = upstream.scope.own("keepalive")
        is_off = bool(kept) and kept[0].args[:1] == ("0",)
        if is_off or not (kept or asked.keeps_by_default):
            until = "" if is_off else " (before nginx 1.29.7)"
            at = kept[0] if kept else _directive(upstream.scope)
            yield found("no-keepalive", at, f"upstream {upstream.name} keeps no connections{until}")
            continue
        yield from _closing(asked, upstream, users)
        yield from _kept_too_long(asked, upstream)


def _closing(asked: Asked, upstream: Upstream, users: list[Proxied]) -> Iterator[Finding]:
    unused = []
    for one in users:
        version = one.scope.value("proxy_http_version", "1.1" if asked.keeps_by_default else "1.0")
        sent = connection_of_requests(asked, one.scope)
        if version == "1.0" or sent == DEFAULT_CLOSE:
            unused.append(one)
        elif sent == "close":
            line = header(one.scope, "connection")
            assert line is not None
            yield found(
                "connection-close",
                line,
                f"{one.title} sends Connection: close to the upstream {upstream.name}",
            )
    if unused:
        first = unused[0]
        version = first.scope.value(
            "proxy_http_version", "1.1" if asked.keeps_by_default else "1.0"
        )
        why = "HTTP/1.0" if version == "1.0" else "no proxy_set_header Connection"
        yield found(
            "keepalive-unused",
            first.by,
            f"{titles(unused)}: {why}, though the upstream {upstream.name} is to keep connections",
        )


DEFAULT_CLOSE = "close by default"


def connection_of_requests(asked: Asked, scope: Scope) -> str | None:
    """Return the Connection header that the app gets with a request that is no upgrade.

    Empty: none is sent; DEFAULT_CLOSE: nothing is said, and nginx sends close; None: not known.
    """
    line = header(scope, "connection")
    if line is None:
        return "" if asked.keeps_by_default else DEFAULT_CLOSE
    value = line.args[1]
    if value.startswith("$"):
        mapped = asked.configuration.mapped(value, "")
        return None if mapped is None or mapped.startswith("$") else mapped.lower()
    return value.lower()


def header(scope: Scope, name: str) -> Directive | None:
    """Return the ``proxy_set_header`` of a name, in small letters, that holds in a block."""
    held = [
        one
        for one in scope.nearest("proxy_set_header")
        if len(one.args) == 2 and one.args[0].lower() == name
    ]
    return held[-1] if held else None


def _kept_too_long(asked: Asked, upstream: Upstream) -> Iterator[Finding]:
    written = upstream.scope.own("keepalive_timeout")
    text = written[0].args[0] if written and written[0].args else "60s"
    kept_s = parse_time_s(text)
    idle_s = asked.http.idle_timeout_s
    if kept_s is not None and kept_s >= idle_s:
        at = written[0] if written else _directive(upstream.scope)
        by_default = "" if written else ", the default,"
        yield found(
            "keepalive-timeout",
            at,
            f"upstream {upstream.name}: keepalive_timeout {text}{by_default} is not below the app's "
            f"http.idle_timeout_s={idle_s:g}",
            mend=f"keepalive_timeout {max(1, min(30, int(idle_s / 2)))}s; in the upstream, or a "
            "longer http.idle_timeout_s of the app.",
        )


def connect_timeout(asked: Asked) -> Iterator[Finding]:
    """Find long waits for machines that may be gone."""
    for upstream, users in asked.used_upstreams().values():
        if len(upstream.peers) < 2 or all(peer.is_local for peer in upstream.peers):
            continue
        for one in users:
            text = one.scope.value("proxy_connect_timeout", "60s")
            limit_s = parse_time_s(text)
            if limit_s is not None and limit_s > SLOW_CONNECT_S:
                written = one.scope.nearest("proxy_connect_timeout")
                yield found(
                    "connect-timeout",
                    written[0] if written else one.by,
                    f"{one.title}: proxy_connect_timeout is {text}, and the upstream "
                    f"{upstream.name} has servers on other machines",
                )
                break


def resolved_once(asked: Asked) -> Iterator[Finding]:
    """Find names that nginx looks up at its start alone."""
    for upstream, _ in asked.used_upstreams().values():
        names = [
            peer for peer in upstream.peers if peer.is_name and "resolve" not in peer.parameters
        ]
        if names:
            listed = ", ".join(dict.fromkeys(peer.host for peer in names))
            yield found("resolved-once", names[0].directive, f"upstream {upstream.name}: {listed}")
    for one in asked.proxied():
        is_literal = one.upstream is None and bool(one.by.args) and "$" not in one.by.args[0]
        if is_literal and any(peer.is_name for peer in one.peers):
            yield found("resolved-once", one.by, f"{one.title}: proxy_pass {one.by.args[0]}")


def retries(asked: Asked) -> Iterator[Finding]:
    """Judge what is sent to a second server."""
    for one in asked.proxied():
        tried = one.scope.nearest("proxy_next_upstream")
        words = tried[0].args if tried else ("error", "timeout")
        if "non_idempotent" in words:
            yield found("retry-non-idempotent", tried[0], f"proxy_next_upstream {' '.join(words)}")
        unbuffered = one.scope.nearest("proxy_request_buffering")
        if (
            unbuffered
            and unbuffered[0].args == ("off",)
            and one.path in {"", "/"}
            and not one.title.startswith("location ~")
            and len(one.peers) > 1
            and "off" not in words
        ):
            yield found(
                "retry-unbuffered",
                unbuffered[0],
                f"{one.title}: proxy_request_buffering off before {len(one.peers)} servers",
            )


def _directive(scope: Scope) -> Directive:
    assert scope.directive is not None  # an upstream is a block
    return scope.directive
