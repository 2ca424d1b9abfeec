"""The kinds of findings, each with its severity, its harm and its mend; and what a finding is. Pure.

``docs/reference/nginx-lint.md`` has this table for users, and a test compares the two.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.tree import Directive


class Severity(enum.IntEnum):
    """How much it hurts; lower is worse."""

    ERROR = 0
    """Requests fail, or the app gets something wrong."""
    WARNING = 1
    """Requests fail under some circumstances, or strangers are believed."""
    INFO = 2
    """It works, and could be better."""

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Kind:
    """What all findings of one kind have in common."""

    severity: Severity
    harm: str
    mend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in a configuration that would hurt."""

    kind: str
    """A key of ``KINDS``."""
    severity: Severity
    file: str
    line: int
    what: str
    """What was seen, in a few words."""
    harm: str
    mend: str
    """What to write."""


KINDS = {
    "max-fails": Kind(
        Severity.ERROR,
        "One failed try ejects a server for fail_timeout (10 s by default): a rolling restart that "
        "is faster ejects all of them, and nginx answers 502 though every instance is up.",
        "max_fails=0 on each server of this machine.",
    ),
    "no-zone": Kind(
        Severity.WARNING,
        "Each nginx worker counts connections and failures for itself, so that balancing and "
        "max_fails don't see what the others have found.",
        "zone NAME 128k; in the upstream.",
    ),
    "no-keepalive": Kind(
        Severity.INFO,
        "Each request opens a connection to the app and closes it again.",
        "keepalive 32; in the upstream, and where it is used proxy_http_version 1.1; and "
        'proxy_set_header Connection "" or the map for websockets.',
    ),
    "keepalive-unused": Kind(
        Severity.WARNING,
        "The upstream's keepalive has no effect: nginx asks the app to close after each request.",
        'proxy_http_version 1.1; and proxy_set_header Connection "" or the map for websockets.',
    ),
    "connection-close": Kind(
        Severity.WARNING,
        "The app is told to close after each request, so that nginx opens a connection for each.",
        "map $http_upgrade $tornado_connection { default upgrade; '' ''; } and "
        "proxy_set_header Connection $tornado_connection;",
    ),
    "keepalive-timeout": Kind(
        Severity.WARNING,
        "The app closes idle connections before nginx does, so that now and then nginx sends a "
        "request on a connection that is being closed; a POST then fails with 502.",
        "a shorter keepalive_timeout in the upstream, or a longer http.idle_timeout_s of the app.",
    ),
    "connect-timeout": Kind(
        Severity.WARNING,
        "A machine that is gone without a word costs each request that is tried there this time.",
        "proxy_connect_timeout 2s;",
    ),
    "resolved-once": Kind(
        Severity.INFO,
        "nginx looks the name up when it starts or reloads, and never again: a server that moves "
        "is not found.",
        "reload nginx when the address changes; from nginx 1.27.3 on, server NAME resolve; with a "
        "zone and a resolver.",
    ),
    "retry-non-idempotent": Kind(
        Severity.WARNING,
        "A POST that a server has begun to work on is sent to another one, too: it may be done "
        "twice.",
        "proxy_next_upstream error timeout;",
    ),
    "retry-unbuffered": Kind(
        Severity.WARNING,
        "Once a part of a body has been sent, nginx can't send it to another server: uploads fail "
        "with the server that they had reached.",
        "proxy_request_buffering off; only in the location for large uploads.",
    ),
    "no-websockets": Kind(
        Severity.WARNING,
        "Websockets can't be opened: nginx doesn't pass the wish to upgrade on.",
        "map $http_upgrade $tornado_connection { default upgrade; '' ''; } and "
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $tornado_connection;",
    ),
    "broken-websockets": Kind(
        Severity.ERROR,
        "Websockets can't be opened though the configuration means to pass them on.",
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $tornado_connection; all three at the same level.",
    ),
    "no-host": Kind(
        Severity.ERROR,
        "The app sees the name of the upstream as its host: websockets are refused for a foreign "
        "origin, and redirects and cookies get the wrong name.",
        "proxy_set_header Host $host;",
    ),
    "any-host": Kind(
        Severity.WARNING,
        "$http_host is what the client writes, also when it asks for another host in the request "
        "line; the app may take it into links and redirects.",
        "proxy_set_header Host $host; on other ports than 80 and 443 $host:$server_port.",
    ),
    "no-port": Kind(
        Severity.INFO,
        "$host has no port: if clients use this one, Tornado refuses the origin of their "
        "websockets and redirects lose the port.",
        "proxy_set_header Host $host:$server_port; unless clients come by port 80 or 443.",
    ),
    "no-client-address": Kind(
        Severity.WARNING,
        "The app takes nginx for the client: every request has the same address in logs and limits.",
        "proxy_set_header X-Real-IP $remote_addr; and "
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    ),
    "client-address-forged": Kind(
        Severity.WARNING,
        "With xheaders Tornado believes X-Real-IP before X-Forwarded-For, and nginx passes on what "
        "the client has written there.",
        "proxy_set_header X-Real-IP $remote_addr;",
    ),
    "no-scheme": Kind(
        Severity.WARNING,
        "The app takes https for http: redirects and absolute links lead away from TLS, and secure "
        "cookies may not be set.",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    "lost-headers": Kind(
        Severity.WARNING,
        "A level with a proxy_set_header of its own inherits none of the levels above.",
        "repeat them there, or move the one header up.",
    ),
    "lost-add-headers": Kind(
        Severity.WARNING,
        "A level with an add_header of its own inherits none of the levels above.",
        "repeat them there; from nginx 1.29.3 on, add_header_inherit merge;",
    ),
    "body-size": Kind(
        Severity.WARNING,
        "nginx answers 413 to bodies that the app would take.",
        "client_max_body_size of the app's http.max_body_size_bytes.",
    ),
    "body-size-above": Kind(
        Severity.INFO,
        "nginx takes and stores bodies that the app then refuses.",
        "client_max_body_size of the app's http.max_body_size_bytes.",
    ),
    "read-timeout": Kind(
        Severity.WARNING,
        "nginx cuts websockets, event streams and long polls that are silent for so long.",
        "proxy_read_timeout 1h; in this location.",
    ),
    "buffered-stream": Kind(
        Severity.WARNING,
        "Events wait in nginx's buffers before the client gets them.",
        "proxy_buffering off; or let the app send X-Accel-Buffering: no.",
    ),
    "gzip-stream": Kind(
        Severity.WARNING,
        "Compression holds events back until enough have come.",
        "leave text/event-stream out of gzip_types, or write gzip off; in this location.",
    ),
    "query-string-expires": Kind(
        Severity.WARNING,
        "Every request with a query string is cached for ever, also those that are no version of a "
        "static file; an if in a location has other surprises, too.",
        "map $arg_v $tornado_static_expires { default max; '' off; } and "
        "expires $tornado_static_expires;",
    ),
    "static-through-app": Kind(
        Severity.INFO,
        "The app's event loops read files for clients; nginx does it without them.",
        "a location for these files with alias PATH; in place of proxy_pass.",
    ),
    "worker-shutdown-timeout": Kind(
        Severity.WARNING,
        "After each reload, old nginx workers stay until their last websocket has closed.",
        "worker_shutdown_timeout 60s; at the top of the file.",
    ),
    "no-default-server": Kind(
        Severity.INFO,
        "Requests for any name, or none, reach the app: scanners, and forged hosts.",
        "server { listen 80 default_server; server_name _; return 444; } and for TLS one with "
        "ssl_reject_handshake on;",
    ),
    "server-tokens": Kind(
        Severity.INFO,
        "Each answer tells nginx's version.",
        "server_tokens off;",
    ),
    "listen-http2": Kind(
        Severity.INFO,
        "The parameter http2 of listen is deprecated from nginx 1.25.1 on.",
        "http2 on; in the server.",
    ),
}


def found(
    kind: str,
    at: Directive,
    what: str,
    *,
    mend: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    """Return a finding at a directive; what is not given is as for all of its kind."""
    known = KINDS[kind]
    return Finding(
        kind,
        known.severity if severity is None else severity,
        at.file,
        at.line,
        what,
        known.harm,
        known.mend if mend is None else mend,
    )
