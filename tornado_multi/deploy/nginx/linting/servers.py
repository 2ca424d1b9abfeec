"""Rules on servers and on nginx as a whole. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.linting.headers import is_sent, path_words
from tornado_multi.deploy.nginx.linting.kinds import found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.linting.asking import Asked
    from tornado_multi.deploy.nginx.linting.configuration import Server
    from tornado_multi.deploy.nginx.linting.kinds import Finding
    from tornado_multi.deploy.nginx.tree import Directive

STATIC_WORDS = frozenset({"static", "assets", "media"})


def query_string(asked: Asked) -> Iterator[Finding]:
    """Find the guide's old way to tell versioned static files."""
    for server in asked.configuration.judged:
        for scope in server.scope.nested():
            one = scope.directive
            if one is None or one.name != "if" or not scope.own("expires"):
                continue
            condition = "".join(one.args).replace("{", "").replace("}", "")
            if condition in {"($query_string)", "($args)", "($is_args)"}:
                expires = " ".join(scope.own("expires")[0].args)
                yield found("query-string-expires", one, f"if {condition} expires {expires}")


def static_files(asked: Asked) -> Iterator[Finding]:
    """Find static files that are read by the app."""
    for one in asked.proxied():
        first = one.path.strip("/").partition("/")[0]
        if first in STATIC_WORDS and path_words(one.title):
            yield found("static-through-app", one.by, f"{one.title} goes through the app")


def shutdown_timeout(asked: Asked) -> Iterator[Finding]:
    """Judge how long old nginx workers may stay."""
    configuration = asked.configuration
    if not configuration.is_whole or configuration.main.own("worker_shutdown_timeout"):
        return
    for one in asked.proxied():
        if is_sent(one.scope, "upgrade"):
            yield found(
                "worker-shutdown-timeout",
                configuration.http.directive or one.by,
                f"{one.title} passes websockets on, and worker_shutdown_timeout is not set",
            )
            return


def default_server(asked: Asked) -> Iterator[Finding]:
    """Judge who answers requests for unknown names, for each address that strangers reach."""
    configuration = asked.configuration
    if not configuration.is_whole:
        return
    first: dict[tuple[str, int | None], Server] = {}
    named: dict[tuple[str, int | None], Server] = {}
    for server in configuration.servers:
        for one in server.listens:
            key = (one.address, one.port)
            if one.is_private:
                continue
            first.setdefault(key, server)
            if {"default_server", "default"} & set(one.parameters):
                named[key] = server
    told = set()
    for key, server in (first | named).items():
        at = server.scope.directive
        if server.proxied and at is not None and server not in told:
            told.add(server)
            names = " ".join(server.names) or "without a name"
            yield found(
                "no-default-server",
                at,
                f"the server {names} answers for every name on port {key[1]}",
            )


def server_tokens(asked: Asked) -> Iterator[Finding]:
    """Find servers that tell the version."""
    for server in asked.configuration.judged:
        written = server.scope.nearest("server_tokens")
        if written and written[0].args[:1] != ("on",):
            continue
        if written:
            yield found("server-tokens", written[0], "server_tokens on")
        elif asked.configuration.is_whole:
            at = asked.configuration.http.directive or server.proxied[0].by
            yield found("server-tokens", at, "server_tokens is on by default")


def listen_http2(asked: Asked) -> Iterator[Finding]:
    """Find the outdated spelling, if nginx is new enough for the other."""
    if not asked.can("http2_directive"):
        return
    for server in asked.configuration.judged:
        lines: list[Directive] = [
            one.directive
            for one in server.listens
            if one.directive is not None and "http2" in one.parameters
        ]
        if lines:
            yield found("listen-http2", lines[0], f"listen {' '.join(lines[0].args)}")
