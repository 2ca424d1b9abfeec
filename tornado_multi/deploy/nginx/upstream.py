"""The part of a configuration that says where the service is, and what nginx tells of itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.plan import seconds
from tornado_multi.deploy.nginx.tree import Directive

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.addresses import Peer
    from tornado_multi.deploy.nginx.plan import Plan
    from tornado_multi.settings.nginx import NginxSettings

HASH_PATH = "/config-hash"
STATUS_PATH = "/status"
ZONE_SIZE = "128k"
MANY_PEERS = 64
PEERS_PER_MB = 512
"""nginx 1.22 to 1.30 take some 600 bytes for a server; there is room for thrice that."""


def upstream(plan: Plan) -> Directive:
    """Return the upstream block."""
    options = plan.options
    block = [
        Directive(
            "zone",
            (plan.upstream, _zone_size(plan)),
            comment="counts are shared by all workers of nginx",
        ),
        *_balance(options),
        *(_server(peer, options) for peer in plan.peers),
        *_keepalive(plan),
    ]
    return Directive(
        "upstream",
        (plan.upstream,),
        tuple(block),
        comment="max_fails=0: a worker on this machine that is being replaced is tried again at once. "
        "By default one failure would shut it out for 10 s, and a rolling restart shut out all."
        if any(peer.is_local for peer in plan.peers)
        else "",
    )


def _zone_size(plan: Plan) -> str:
    count = len(plan.peers)
    return ZONE_SIZE if count <= MANY_PEERS else f"{-(-count // PEERS_PER_MB)}m"


def private_server(plan: Plan, config_hash: str) -> Directive:
    """Return the server that tells nginx's figures and which configuration it runs."""
    block = (
        Directive("listen", (plan.private.listen,)),
        Directive("server_name", (plan.private.name,)),
        Directive("access_log", ("off",)),
        Directive(
            "location",
            ("=", HASH_PATH),
            (
                Directive("default_type", ("text/plain",)),
                Directive("return", ("200", config_hash)),
            ),
            comment="Proves that a reload has taken place.",
        ),
        Directive("location", ("=", STATUS_PATH), (Directive("stub_status"), *_this_machine(plan))),
        Directive("location", ("/",), (Directive("return", ("404",)),)),
    )
    comment = "For this machine only: figures, and the hash of this file."
    if plan.private.listen.startswith("unix:"):
        comment += (
            " An nginx that was killed leaves the socket behind: remove it before the next start."
        )
    return Directive("server", (), block, comment=comment)


def _this_machine(plan: Plan) -> tuple[Directive, ...]:
    """Say once more, for an address with a port, who may read the figures."""
    if plan.private.listen.startswith("unix:"):
        return ()
    return (
        Directive("allow", ("127.0.0.0/8",)),
        Directive("allow", ("::1",)),
        Directive("deny", ("all",)),
    )


def _balance(options: NginxSettings) -> list[Directive]:
    match options.balance:
        case "least_conn":
            made = Directive("least_conn", comment="requests of an async service differ in length")
        case "ip_hash":
            made = Directive("ip_hash", comment="a client stays with one worker")
        case "hash":
            if options.hash_key is None:
                raise RefusedError(
                    "balance=hash needs to know what it goes by: --hash-key '$arg_room'."
                )
            made = Directive(
                "hash",
                (options.hash_key, "consistent"),
                comment="few keys move when a worker comes or goes",
            )
        case "random":
            made = Directive("random", ("two", "least_conn"))
        case "round_robin":
            return []
    return [made]


def _server(peer: Peer, options: NginxSettings) -> Directive:
    if peer.is_local:
        comment = "" if peer.fork_id is None else f"fork_id {peer.fork_id}"
        return Directive("server", (peer.address, "max_fails=0"), comment=comment)
    failures = (
        f"max_fails={options.remote_max_fails}",
        f"fail_timeout={seconds(options.remote_fail_timeout_s)}",
    )
    return Directive("server", (peer.address, *failures), comment="another machine")


def _keepalive(plan: Plan) -> list[Directive]:
    count = plan.options.upstream_keepalive
    if count == 0:
        # From 1.29.7 on it is on by default; before, 0 is an error.
        is_default = plan.nginx.can("upstream_keepalive_default")
        return [Directive("keepalive", ("0",))] if is_default else []
    return [
        Directive("keepalive", (str(count),)),
        Directive(
            "keepalive_timeout",
            (seconds(plan.upstream_keepalive_s),),
            comment=f"below the service's own {plan.settings.http.idle_timeout_s:g} s: nginx closes first",
        ),
    ]
