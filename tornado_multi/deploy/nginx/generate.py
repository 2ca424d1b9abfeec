"""From settings to a configuration: a tree, what stands at its head, what the user should know. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tornado_multi.deploy.nginx.addresses import closed_sockets, named_servers
from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.headers import variables
from tornado_multi.deploy.nginx.locations import limit_zone, static_variables
from tornado_multi.deploy.nginx.plan import seconds
from tornado_multi.deploy.nginx.sites import sites
from tornado_multi.deploy.nginx.tls import policy
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.upstream import private_server, upstream
from tornado_multi.deploy.nginx.versions import refuse_old
from tornado_multi.deploy.nginx.writing import literal, render

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.plan import Plan
    from tornado_multi.settings.nginx import NginxSettings

Part = Literal["all", "upstream", "server"]
HASH_DIGITS = 16
MOST_SERVER_NAME_LETTERS = 46
"""What nginx's table of names has room for by default (64 bytes, a line of the processor's cache)."""
LONG_SERVER_NAMES = Directive("server_names_hash_bucket_size", ("512",))
"""Room for names of any length: those of hosts end at 253."""
NO_HASH = "0" * HASH_DIGITS
GZIP_TYPES = (
    "text/css",
    "text/plain",
    "text/xml",
    "application/json",
    "application/javascript",
    "application/xml",
    "image/svg+xml",
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that can be written."""

    directives: tuple[Directive, ...]
    head: tuple[str, ...]
    """Sentences for the top of the file."""
    notes: tuple[str, ...]
    """What the user should know, in full sentences."""
    config_hash: str | None
    """What nginx answers when it has taken this over; None: this part does not hold it."""

    def text(self) -> str:
        """Return the file."""
        return render(self.directives, self.head)


def configuration(plan: Plan, part: Part = "all") -> Configuration:
    """Return the whole file, or a part of it for the http block of another one.

    Raises: RefusedError: nginx, or this version of it, can't do what the settings ask for.
    """
    refuse_old(plan.nginx.version)
    if not plan.peers:
        raise RefusedError("There is no address of the service: nginx would have nowhere to go.")
    notes = _notes(plan, part)
    head = (*_head(plan, part), *(f"NOTE: {note}" for note in notes))
    make = {"all": _whole, "upstream": _upstream_part, "server": _server_part}[part]
    directives = make(plan, NO_HASH)
    if part == "server":
        return Configuration(directives, head, notes, None)
    text = render(directives, head)
    config_hash = hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
    return Configuration(make(plan, config_hash), head, notes, config_hash)


def _head(plan: Plan, part: Part) -> tuple[str, ...]:
    what = {
        "all": f"{plan.name} behind nginx: the whole file.",
        "upstream": f"{plan.name} behind nginx: where the service is. Belongs into the http block.",
        "server": f"{plan.name} behind nginx: the server blocks. Belongs into the http block, beside "
        "the part upstream.",
    }[part]
    return (f"{what} For nginx {plan.nginx.version}. Written by tornado-multi nginx: don't edit.",)


def _notes(plan: Plan, part: Part) -> tuple[str, ...]:
    settings, options = plan.settings, plan.options
    notes = []
    if part != "upstream" and not settings.proxy.xheaders:
        notes.append(
            "The service does not believe what nginx says of clients: all have the address of nginx "
            "for it, and the scheme http. Give it --xheaders, or xheaders = true in the file."
        )
    if (
        part != "server"
        and (closed := closed_sockets(settings))
        and any(peer.is_local and peer.address.startswith("unix:") for peer in plan.peers)
    ):
        path, mode = closed[0]
        notes.append(
            f"{path} gets the mode {mode:o}: only its owner can connect, and nginx's workers run as "
            f"{options.nginx_user}. Let its address end with ?mode=660&group={options.nginx_user}."
        )
    if part != "server" and (names := named_servers(plan.peers)):
        notes.append(
            f"nginx looks up {' and '.join(names)} once, when it starts or reloads: an address that "
            "changes later is not noticed."
        )
    if options.retry == "non_idempotent" and part != "upstream":
        notes.append(
            "retry=non_idempotent: a POST may be done twice, if a worker dies while it does it."
        )
    if part == "server" and (long := _long_server_name(options)):
        notes.append(
            f"The name {long} is longer than {MOST_SERVER_NAME_LETTERS} letters, for which nginx has no "
            f"room by default: put {LONG_SERVER_NAMES.name} {LONG_SERVER_NAMES.args[0]}; into the http "
            "block."
        )
    if settings.tls.tls_client_ca is not None and part != "upstream":
        notes.append(
            "The service wants certificates of its clients (tls_client_ca), and nginx is given none: "
            "put proxy_ssl_certificate and proxy_ssl_certificate_key into a file for --include."
        )
    return tuple(notes)


def _whole(plan: Plan, config_hash: str) -> tuple[Directive, ...]:
    options = plan.options
    open_files = 2 * options.worker_connections
    return (
        Directive("user", (options.nginx_user,)),
        Directive("worker_processes", (options.worker_processes,)),
        Directive(
            "worker_rlimit_nofile",
            (str(open_files),),
            comment="a connection of a client needs one to the service",
        ),
        Directive(
            "worker_shutdown_timeout",
            (seconds(max(1.0, plan.settings.workers.drain_timeout_s)),),
            comment="drain_timeout_s of the service; otherwise websockets keep old workers for ever",
        ),
        Directive("error_log", (options.error_log, "warn")),
        Directive("pid", (options.nginx_pid_file,)),
        Directive(
            "events", (), (Directive("worker_connections", (str(options.worker_connections),)),)
        ),
        Directive("http", (), _http(plan, config_hash)),
    )


def _http(plan: Plan, config_hash: str) -> tuple[Directive, ...]:
    log = literal(plan.options.access_log, "the path of the log")
    quick: tuple[Directive, ...] = ()
    if plan.nginx.can("keepalive_min_timeout"):
        comment = "a reload closes no connection under a request that is on its way"
        quick = (Directive("keepalive_min_timeout", ("1s",), comment=comment),)
    return (
        Directive("include", ("/etc/nginx/mime.types",)),
        Directive("default_type", ("application/octet-stream",)),
        Directive("types_hash_max_size", ("2048",)),
        Directive("server_tokens", ("off",)),
        *((LONG_SERVER_NAMES,) if _long_server_name(plan.options) else ()),
        Directive("sendfile", ("on",)),
        Directive("tcp_nopush", ("on",)),
        Directive("keepalive_timeout", ("65s",)),
        *quick,
        *_access_log(plan, log),
        *_gzip(plan),
        *(policy(plan.options, plan.nginx) if plan.has_tls else ()),
        *_shared(plan),
        upstream(plan),
        private_server(plan, config_hash),
        *sites(plan),
    )


def _access_log(plan: Plan, path: str) -> tuple[Directive, ...]:
    """Return where requests are logged, with what finds the same request in the service's log."""
    if path == "off" or not plan.options.request_ids:
        return (Directive("access_log", (path,)),)
    line = (
        '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent" '
        f"{plan.variable('request_id')} $upstream_addr $upstream_response_time"
    )
    return (
        Directive("log_format", (plan.name, line), comment="combined, with the request's id"),
        Directive("access_log", (path, plan.name)),
    )


def _long_server_name(options: NginxSettings) -> str | None:
    """Return a name that nginx's table of names has no room for by default."""
    names = options.server_name
    return next((name for name in names if len(name) > MOST_SERVER_NAME_LETTERS), None)


def _upstream_part(plan: Plan, config_hash: str) -> tuple[Directive, ...]:
    return (upstream(plan), private_server(plan, config_hash))


def _server_part(plan: Plan, _config_hash: str) -> tuple[Directive, ...]:
    # What the http block of the other file may say already stands in our server blocks.
    in_each = policy(plan.options, plan.nginx) if plan.has_tls else ()
    *others, service = sites(plan, in_each, is_whole=False)
    assert service.block is not None
    own = (Directive("server_tokens", ("off",)), *_gzip(plan))
    at = next(i for i, item in enumerate(service.block) if item.name == "client_max_body_size")
    block = (*service.block[:at], *own, *service.block[at:])
    return (*_shared(plan), *others, Directive("server", (), block, comment=service.comment))


def _shared(plan: Plan) -> tuple[Directive, ...]:
    """Return what only an http block takes, under names of this service."""
    return (*variables(plan), *static_variables(plan), *limit_zone(plan))


def _gzip(plan: Plan) -> tuple[Directive, ...]:
    if not plan.options.gzip:
        return ()
    return (
        Directive("gzip", ("on",)),
        Directive("gzip_vary", ("on",)),
        Directive("gzip_proxied", ("any",)),
        Directive("gzip_min_length", ("1024",)),
        Directive("gzip_types", GZIP_TYPES),
    )
