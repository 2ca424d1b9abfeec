"""Rules on what the app is told of the client: websockets, host, address, scheme. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.linting.asking import titles
from tornado_multi.deploy.nginx.linting.configuration import USUAL_PORTS
from tornado_multi.deploy.nginx.linting.kinds import Severity, found
from tornado_multi.deploy.nginx.linting.upstreams import (
    DEFAULT_CLOSE,
    connection_of_requests,
    header,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.linting.asking import Asked
    from tornado_multi.deploy.nginx.linting.configuration import Proxied, Server
    from tornado_multi.deploy.nginx.linting.kinds import Finding
    from tornado_multi.deploy.nginx.linting.scopes import Scope
    from tornado_multi.deploy.nginx.tree import Directive

SOCKET_WORDS = frozenset({"ws", "wss", "websocket", "websockets", "sockjs"})
"""Parts of a path that say what a location is for."""
TOLD = (
    "host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-scheme", "x-forwarded-host",
    "x-request-id",
)  # fmt: skip
"""What an app misses. Connection and Upgrade are often left out on purpose, and judged elsewhere."""
SAFETY_HEADERS = frozenset({
    "strict-transport-security", "content-security-policy", "x-frame-options",
    "x-content-type-options", "referrer-policy", "permissions-policy", "cross-origin-opener-policy",
})  # fmt: skip


def path_words(title: str) -> set[str]:
    """Return the words of a location: ``{"api", "ws"}`` of ``location ~ ^/api/ws/``."""
    return set(re.split(r"[^a-z0-9]+", title.lower())) - {"location", ""}


def is_sent(scope: Scope, name: str) -> bool:
    """Tell whether the app gets a header that ``proxy_set_header`` names."""
    line = header(scope, name)
    return line is not None and line.args[1] != ""


def websockets(asked: Asked) -> Iterator[Finding]:
    """Judge per server whether websockets get through, and locations that are made for them."""
    for server in asked.configuration.judged:
        passing = [one for one in server.proxied if is_sent(one.scope, "upgrade")]
        for one in server.proxied:
            if one in passing:
                yield from _broken_socket(asked, one)
            elif passing and SOCKET_WORDS & path_words(one.title):
                yield found(
                    "broken-websockets",
                    one.by,
                    f"{one.title}: the wish to upgrade is not passed on",
                )
        if not passing:
            lost = [one for one in server.proxied if "upgrade" in _lost(one.scope)]
            guilty = lost or list(server.proxied)
            yield found(
                "no-websockets",
                guilty[0].by,
                f"{titles(guilty)}: the wish to upgrade is not passed on",
            )


def _broken_socket(asked: Asked, one: Proxied) -> Iterator[Finding]:
    line = header(one.scope, "upgrade")
    assert line is not None  # it is sent
    version = one.scope.value("proxy_http_version", "1.1" if asked.keeps_by_default else "1.0")
    if version == "1.0":
        yield found("broken-websockets", line, f"{one.title} passes Upgrade on, in HTTP/1.0")
    connection = header(one.scope, "connection")
    sent = connection_of_requests(asked, one.scope)
    fixed = connection is not None and not connection.args[1].startswith("$")
    if sent == DEFAULT_CLOSE or connection is None or (fixed and sent in {"", "close"}):
        at = line if connection is None else connection
        yield found(
            "broken-websockets", at, f"{one.title} passes Upgrade on, without Connection: upgrade"
        )


def host(asked: Asked) -> Iterator[Finding]:
    """Judge the Host that the app gets."""
    for server in asked.configuration.judged:
        without = [
            one
            for one in server.proxied
            if not _keeps_host(one.scope) and "host" not in _lost(one.scope)
        ]
        if without:
            at = header(without[0].scope, "host") or without[0].by
            yield found("no-host", at, f"{titles(without)}: the client's Host is not passed on")
        for value in ("$http_host", "$host"):
            told = [one for one in server.proxied if _host_value(one.scope) == value]
            if told and value == "$http_host":
                yield found("any-host", _header_of(told[0], "host"), f"{titles(told)}: {value}")
            elif told and (port := _odd_port(server)):
                yield found(
                    "no-port",
                    _header_of(told[0], "host"),
                    f"{titles(told)}: $host, and the server listens on port {port}",
                )


def _keeps_host(scope: Scope) -> bool:
    return _host_value(scope) not in {None, "", "$proxy_host"}


def _host_value(scope: Scope) -> str | None:
    line = header(scope, "host")
    return None if line is None else line.args[1].replace("{", "").replace("}", "")


def _odd_port(server: Server) -> int | None:
    """Return the port if clients can come by an unusual one alone."""
    ports = [one.port for one in server.listens if not one.is_private]
    if not ports or any(port is None or port in USUAL_PORTS for port in ports):
        return None
    return ports[0]


def client(asked: Asked) -> Iterator[Finding]:
    """The client's address and scheme."""
    for server in asked.configuration.judged:
        told = [one for one in server.proxied if not set(TOLD) & _lost(one.scope)]
        nothing = [
            one
            for one in told
            if not is_sent(one.scope, "x-real-ip") and not is_sent(one.scope, "x-forwarded-for")
        ]
        if nothing:
            yield found(
                "no-client-address",
                nothing[0].by,
                f"{titles(nothing)}: neither X-Real-IP nor X-Forwarded-For is set",
            )
        forged = [
            one
            for one in told
            if header(one.scope, "x-real-ip") is None and is_sent(one.scope, "x-forwarded-for")
        ]
        if forged:
            yield found(
                "client-address-forged",
                _header_of(forged[0], "x-forwarded-for"),
                f"{titles(forged)}: X-Forwarded-For is set, and X-Real-IP left to the client",
            )
        schemeless = [
            one
            for one in told
            if not is_sent(one.scope, "x-forwarded-proto") and not is_sent(one.scope, "x-scheme")
        ]
        if schemeless:
            is_tls = any("ssl" in one.parameters for one in server.listens)
            yield found(
                "no-scheme",
                schemeless[0].by,
                f"{titles(schemeless)}: neither X-Forwarded-Proto nor X-Scheme is set",
                severity=None if is_tls else Severity.INFO,
            )


def lost_headers(asked: Asked) -> Iterator[Finding]:
    """Name what a proxy_set_header of a location takes away."""
    for one in asked.proxied():
        lost = [name for name in TOLD if name in _lost(one.scope)]
        if lost:
            yield found(
                "lost-headers",
                one.scope.nearest("proxy_set_header")[0],
                f"{one.title} loses {', '.join(_spelt(name) for name in lost)}",
                severity=Severity.ERROR if "host" in lost else None,
            )


def lost_add_headers(asked: Asked) -> Iterator[Finding]:
    """Name the safety headers that an add_header of a location takes away."""
    for server in asked.configuration.judged:
        for scope in server.scope.nested():
            if not scope.own("add_header") or scope.value("add_header_inherit", "on") == "merge":
                continue
            lost = SAFETY_HEADERS & _shadowed(scope, "add_header")
            if lost:
                title = (
                    " ".join((scope.directive.name, *scope.directive.args))
                    if scope.directive
                    else ""
                )
                yield found(
                    "lost-add-headers",
                    scope.own("add_header")[0],
                    f"{title} loses {', '.join(_spelt(name) for name in sorted(lost))}",
                )


def _lost(scope: Scope) -> set[str]:
    return _shadowed(scope, "proxy_set_header")


def _shadowed(scope: Scope, name: str) -> set[str]:
    """Return the header names of levels above that a nearer level shadows and doesn't repeat."""
    levels = []
    around: Scope | None = scope
    while around is not None:
        if own := around.own(name):
            levels.append({one.args[0].lower() for one in own if one.args})
        around = around.parent
    return set().union(*levels[1:]) - levels[0] if levels else set()


def _header_of(one: Proxied, name: str) -> Directive:
    line = header(one.scope, name)
    assert line is not None  # it was looked at
    return line


def _spelt(name: str) -> str:
    """Return a header's name as it is usually written."""
    return "-".join("IP" if part == "ip" else part.capitalize() for part in name.split("-"))
