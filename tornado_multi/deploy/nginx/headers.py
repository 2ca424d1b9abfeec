"""What nginx tells the service of the request that it got: headers, and the variables in them. Pure.

Tornado reads (httputil and httpserver of 6.5): X-Forwarded-For from the right, without
trusted_downstream; X-Real-Ip goes before it; X-Scheme goes before X-Forwarded-Proto; Origin is
compared with Host, port included. Each is set here, so that none can come from a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.tree import Directive

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.plan import Plan

DEFAULT_PORTS = {"http": 80, "https": 443}
WELL_FORMED_ID = "~^[A-Za-z0-9._-]{1,128}$"
"""What is taken over of a client's request id: it lands in logs."""


def public_port(plan: Plan) -> int:
    """Return the port that clients of the site see."""
    options = plan.options
    own = options.https_port if plan.has_tls else options.http_port
    return options.public_port or own


def port_suffix(plan: Plan) -> str:
    """Return what stands behind the host name in a URL of the site: nothing, or ``:8443``."""
    port = public_port(plan)
    return "" if port == DEFAULT_PORTS["https" if plan.has_tls else "http"] else f":{port}"


def variables(plan: Plan) -> tuple[Directive, ...]:
    """Return the maps that the headers need, for the http block."""
    made = [
        Directive(
            "map",
            ("$http_upgrade", plan.variable("connection")),
            (Directive("default", ("upgrade",)), Directive("", ("",))),
            comment="Websockets ask for an upgrade; for all else the header is empty, which keeps the "
            'connection to the service open ("close" would not).',
        )
    ]
    if plan.options.request_ids:
        pattern = Directive(WELL_FORMED_ID, ("$http_x_request_id",))
        made.append(
            Directive(
                "map",
                ("$http_x_request_id", plan.variable("request_id")),
                (Directive("default", ("$request_id",)), pattern),
                comment="A well-formed id of the client is kept.",
            )
        )
    return (*made, *_scheme(plan))


def real_address(plan: Plan) -> tuple[Directive, ...]:
    """Return what finds the client's address behind the proxies before nginx, for a server block."""
    proxies = plan.settings.proxy.trusted_downstream
    if not proxies:
        return ()
    first, *others = (
        Directive("set_real_ip_from", (_address(proxy),), comment="trusted_downstream" * (not at))
        for at, proxy in enumerate(proxies)
    )
    return (
        first,
        *others,
        Directive("real_ip_header", ("X-Forwarded-For",)),
        Directive("real_ip_recursive", ("on",)),
    )


def headers(plan: Plan) -> tuple[Directive, ...]:
    """Return the headers, for a server block: a location that sets one itself would inherit none."""
    scheme = plan.variable("scheme") if plan.settings.proxy.trusted_downstream else "$scheme"
    host = f"$host{port_suffix(plan)}"
    comment = "with the port, because Tornado compares Origin with it" if ":" in host else ""
    made = [
        _header("Host", host, comment),
        _header("X-Real-IP", "$remote_addr"),
        _header(
            "X-Forwarded-For", "$remote_addr", "what clients say of themselves is not passed on"
        ),
        _header("X-Forwarded-Proto", scheme),
        _header("X-Scheme", scheme, "Tornado reads it first"),
        _header("Forwarded", "", "of clients; Tornado reads none of these three, an app may"),
        _header("X-Forwarded-Host", ""),
        _header("X-Forwarded-Port", ""),
        _header("Upgrade", "$http_upgrade"),
        _header("Connection", plan.variable("connection")),
    ]
    if plan.options.request_ids:
        made.append(_header("X-Request-ID", plan.variable("request_id")))
    return tuple(made)


def _header(name: str, value: str, comment: str = "") -> Directive:
    return Directive("proxy_set_header", (name, value), comment=comment)


def _scheme(plan: Plan) -> tuple[Directive, ...]:
    """Believe the proxies before nginx what they say of https, and nobody else."""
    proxies = plan.settings.proxy.trusted_downstream
    if not proxies:
        return ()
    known = plan.variable("from_proxy")
    return (
        Directive(
            "geo",
            ("$realip_remote_addr", known),
            (
                Directive("default", ("0",)),
                *(Directive(_address(proxy), ("1",)) for proxy in proxies),
            ),
            comment="The proxies before nginx (trusted_downstream) may say which scheme clients use.",
        ),
        Directive(
            "map",
            (f"{known}:$http_x_forwarded_proto", plan.variable("scheme")),
            (
                Directive("default", ("$scheme",)),
                Directive("1:https", ("https",)),
                Directive("1:http", ("http",)),
            ),
        ),
    )


def _address(proxy: str) -> str:
    """Return an address of trusted_downstream.

    Raises: RefusedError: it is none; Tornado compares texts, and a name would never be equal.
    """
    import ipaddress

    try:
        return str(ipaddress.ip_address(proxy))
    except ValueError:
        message = f"trusted_downstream={proxy}: must be an IP address, because Tornado compares it with one."
        raise RefusedError(message) from None
