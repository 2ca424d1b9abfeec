"""What a configuration says of servers, upstreams and proxied locations. Pure.

A file without an ``http`` block is taken for a part of one, as in ``sites-enabled``: what the rest
may say is not known, and rules that would need it keep silent.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.linting.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.tree import Directive

USUAL_PORTS = frozenset({80, 443})
_IN_SERVERS = frozenset({"location", "proxy_pass", "listen", "server_name"})
_URL = re.compile(r"(https?)://(unix:[^:]*|\[[^\]]*\](?::\d+)?|[^/:$]*(?::\d+)?)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Peer:
    """One server that nginx passes requests to."""

    directive: Directive
    address: str
    """As written: ``127.0.0.1:8001``, ``unix:/run/app/0.sock``, ``app:8000``."""
    parameters: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        if self.address.startswith("unix:"):
            return self.address
        found = _AUTHORITY.match(self.address)
        return found[1].strip("[]").lower() if found else self.address

    @property
    def is_local(self) -> bool:
        """Tell whether it is on this machine for certain."""
        if self.address.startswith("unix:") or self.host == "localhost":
            return True
        address = _ip(self.host)
        return address is not None and address.is_loopback

    @property
    def is_name(self) -> bool:
        """Tell whether nginx has to look it up."""
        return not self.is_local and _ip(self.host) is None

    def parameter(self, name: str) -> str | None:
        """Return the value of ``name=value``."""
        prefix = f"{name}="
        values = [one.removeprefix(prefix) for one in self.parameters if one.startswith(prefix)]
        return values[-1] if values else None


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """A group of servers, by its block."""

    name: str
    scope: Scope
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """One address of a server."""

    directive: Directive | None
    """None: nginx's own default, port 80."""
    address: str
    port: int | None
    """None: a unix socket."""
    parameters: tuple[str, ...] = ()

    @property
    def is_private(self) -> bool:
        """Tell whether only this machine can reach it."""
        address = _ip(self.address)
        is_loopback = address is not None and address.is_loopback
        return self.port is None or self.address == "localhost" or is_loopback


@dataclass(frozen=True, slots=True, eq=False)
class Proxied:
    """A block of a server that passes requests on to an app."""

    scope: Scope
    by: Directive
    """The ``proxy_pass``."""
    path: str
    """The path of the location, without modifier; empty: it is a regular expression."""
    title: str
    """The location as it is written: ``location ~ ^/ws``."""
    upstream: Upstream | None
    """None: the address stands in ``proxy_pass``, or the upstream in a part that is not here."""
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """A ``server`` of the configuration, or the one that a part of a configuration is in."""

    scope: Scope
    listens: tuple[Listen, ...]
    """Empty: not known."""
    names: tuple[str, ...]
    proxied: tuple[Proxied, ...]
    """Empty: it passes nothing to an app."""


class Configuration:
    """A configuration, looked at with the eyes of one who runs an app behind it."""

    def __init__(self, tree: tuple[Directive, ...]) -> None:
        self.main = Scope(tree)
        blocks = [one for one in tree if one.name == "http" and one.block is not None]
        self.is_whole = bool(blocks)
        self.http = self.main.enter(blocks[0]) if blocks else Scope(tree)

    @cached_property
    def upstreams(self) -> dict[str, Upstream]:
        return {
            one.args[0].lower(): _upstream(one.args[0], self.http.enter(one))
            for one in self.http.own("upstream")
            if one.args
        }

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """Those that pass requests to an app, and the others."""
        scopes = [self.http.enter(one) for one in self.http.own("server") if one.block is not None]
        if not self.is_whole and not scopes and _IN_SERVERS & {one.name for one in self.http.body}:
            scopes = [self.http]
        return tuple(self._server(scope) for scope in scopes)

    @cached_property
    def judged(self) -> tuple[Server, ...]:
        """The servers that pass requests to an app."""
        return tuple(server for server in self.servers if server.proxied)

    def mapped(self, variable: str, value: str) -> str | None:
        """Return what a ``map`` gives *variable* for a source of *value*; None: not known.

        Regular expressions are not tried: *value* is the empty string or plain text.
        """
        for one in self.http.own("map"):
            if len(one.args) == 2 and one.args[1] == variable:
                entries = {entry.name: entry.args[0] for entry in one.block or () if entry.args}
                return entries.get(value, entries.get("default", ""))
        return None

    def _server(self, scope: Scope) -> Server:
        own = scope.own("listen")
        listens = tuple(_listen(one) for one in own if one.args)
        if not listens and scope.directive is not None:
            listens = (Listen(None, "*", 80),)
        names = tuple(name for one in scope.own("server_name") for name in one.args)
        return Server(scope, listens, names, tuple(self._proxied(scope)))

    def _proxied(self, server: Scope) -> Iterator[Proxied]:
        for scope in (server, *server.nested()):
            for by in scope.own("proxy_pass"):
                url = _URL.fullmatch(_literal(by.args[0], scope)) if by.args else None
                if url is None:
                    continue  # a variable, or no http
                scheme, authority, rest = url.groups()
                upstream = self.upstreams.get(authority.lower())
                if upstream is not None:
                    peers = upstream.peers
                else:
                    peer = Peer(by, authority)
                    is_begin = rest.startswith("$") and peer.is_name  # http://app-$colour
                    if is_begin or not authority or _is_foreign(scheme, peer):
                        continue
                    is_elsewhere = not self.is_whole and ":" not in authority and peer.is_name
                    peers = () if is_elsewhere else (peer,)
                path, title = _location(scope)
                yield Proxied(scope, by, path, title, upstream, peers)


def _upstream(name: str, scope: Scope) -> Upstream:
    peers = tuple(Peer(one, one.args[0], one.args[1:]) for one in scope.own("server") if one.args)
    return Upstream(name, scope, peers)


def _literal(text: str, scope: Scope) -> str:
    """Return the value of ``$name`` if a ``set`` in reach gives it one without variables."""
    if not text.startswith("$"):
        return text
    around: Scope | None = scope
    while around is not None:
        for one in around.own("set"):
            if len(one.args) == 2 and one.args[0] == text and "$" not in one.args[1]:
                return one.args[1]
        around = around.parent
    return text


def _is_foreign(scheme: str, peer: Peer) -> bool:
    """Tell whether this is rather a service of others than an app: a public name, a usual port."""
    found = _AUTHORITY.fullmatch(peer.address)
    has_own_port = found is not None and found[2] not in {None, "80", "443"}
    return peer.is_name and "." in peer.host and (scheme == "https" or not has_own_port)


def _location(scope: Scope) -> tuple[str, str]:
    """Return path and title of the location that a block is, or is in."""
    around: Scope | None = scope
    while around is not None and around.directive is not None:
        if around.directive.name == "location" and around.directive.args:
            args = around.directive.args
            modifier = args[0] if len(args) > 1 else args[0][: _modifier_length(args[0])]
            path = "" if modifier.startswith("~") else args[-1][_modifier_length(args[-1]) :]
            return path, " ".join(("location", *args))
        around = around.parent
    return "", "the server"


def _modifier_length(text: str) -> int:
    return len(text) - len(text.lstrip("=~^*"))


def _listen(one: Directive) -> Listen:
    text = one.args[0]
    parameters = one.args[1:]
    if text.startswith("unix:"):
        return Listen(one, text, None, parameters)
    if text.isascii() and text.isdigit():
        return Listen(one, "*", int(text), parameters)
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return Listen(one, text, 80, parameters)
    return Listen(one, found[1].strip("[]"), int(found[2] or 80), parameters)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
