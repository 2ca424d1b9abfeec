"""The server blocks: the service, the way to https, and the refusal of other names. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.addresses import Peer, claimed_twice
from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.headers import headers, port_suffix, public_port, real_address
from tornado_multi.deploy.nginx.locations import locations
from tornado_multi.deploy.nginx.plan import seconds, size
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.writing import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tornado_multi.deploy.nginx.plan import Plan

RETRY_TIMEOUT_S = 10.0
"""Time after which no other worker is tried; below read_timeout_s, so that a request which the
service does not answer is not given to the next worker as well."""
TRIES = 2
ALT_SVC_S = 86400


def sites(
    plan: Plan, in_each: tuple[Directive, ...] = (), *, is_whole: bool = True
) -> tuple[Directive, ...]:
    """Return all server blocks.

    Args: in_each: directives for each server that speaks TLS, when the http block is somebody else's.
        is_whole: whether other names are ours to refuse; of a part the main file has its own way.
    Raises: RefusedError: what is asked for does not fit together.
    """
    options = plan.options
    _refuse_misfits(plan)
    made = []
    if options.default_server and is_whole:
        made.append(_refusing_http(plan))
        if plan.has_tls:
            made.append(_refusing_https(plan, in_each))
    if plan.has_tls:
        made.append(_to_https(plan))
    made.append(_service(plan, in_each))
    return tuple(made)


def _refuse_misfits(plan: Plan) -> None:
    options = plan.options
    if not options.server_name:
        raise RefusedError(
            "server_name is missing: the name that clients use, as in --server-name shop.example.com."
        )
    if (options.certificate is None) != (options.certificate_key is None):
        given, missing = "certificate", "certificate-key"
        if options.certificate is None:
            given, missing = "certificate_key", "certificate"
        message = f"{given} is given and --{missing} is not: TLS needs both files."
        raise RefusedError(message)
    if plan.has_tls and options.http_port == options.https_port:
        message = f"http_port and https_port are both {options.http_port}: they must differ."
        raise RefusedError(message)
    _refuse_double_claims(plan)
    if options.http3:
        if not plan.has_tls:
            raise RefusedError("http3 needs TLS: --certificate and --certificate-key.")
        plan.nginx.require("http3", "http3")


def _refuse_double_claims(plan: Plan) -> None:
    """Refuse what nginx could not bind: its test of a configuration does not show it."""
    options = plan.options
    ports = (options.http_port, *((options.https_port,) if plan.has_tls else ()))
    listens = [address for port in ports for address in _addresses(options.listen_address, port)]
    twice = next((address for address in listens if listens.count(address) > 1), None)
    if twice is not None:
        raise RefusedError(f"listen_address: nginx would listen on {twice} twice.")
    private = plan.private.listen
    if claimed_twice([Peer(private, is_local=True)], listens):
        message = (
            f"private_listen={private} is a port of the site too: on this machine the site could not be "
            "reached there. Choose another one."
        )
        raise RefusedError(message)
    taken = claimed_twice(plan.peers, (*listens, private))
    if taken is not None:
        message = (
            f"The service listens on {taken}, and nginx would listen there too: choose other ports for "
            "one of them (--http-port, --https-port, --private-listen; --first-port, --bind)."
        )
        raise RefusedError(message)


def _refusing_http(plan: Plan) -> Directive:
    block = (
        *_listen(plan, plan.options.http_port, "default_server"),
        Directive("server_name", ("_",)),
        Directive("return", ("444",), comment="hang up without an answer"),
    )
    return Directive("server", (), block, comment="Other host names are refused.")


def _refusing_https(plan: Plan, in_each: tuple[Directive, ...]) -> Directive:
    listen = _listen_tls(plan, "default_server")
    ends: tuple[Directive, ...]
    if plan.nginx.can("reject_handshake"):
        ends = (
            Directive("ssl_reject_handshake", ("on",), comment="without showing a certificate"),
            Directive(
                "location",
                ("/",),
                (Directive("return", ("421",)),),
                comment="A known name in the handshake, another one in the request.",
            ),
        )
    else:
        ends = (
            *_certificate(plan),
            Directive("location", ("/",), (Directive("return", ("444",)),)),
        )
    return Directive("server", (), (*listen, Directive("server_name", ("_",)), *in_each, *ends))


def _to_https(plan: Plan) -> Directive:
    names = plan.options.server_name
    host = names[0] if len(names) == 1 and not names[0].startswith("*") else "$host"
    target = f"https://{host}{port_suffix(plan)}$request_uri"
    block = (
        *_listen(plan, plan.options.http_port),
        Directive("server_name", names),
        Directive("return", ("301", target)),
    )
    return Directive("server", (), block)


def _service(plan: Plan, in_each: tuple[Directive, ...]) -> Directive:
    options, http = plan.options, plan.settings.http
    listen = _listen_tls(plan) if plan.has_tls else _listen(plan, options.http_port)
    tls: tuple[Directive, ...] = ()
    if plan.has_tls:
        tls = (*in_each, *_certificate(plan), *_promises(plan))
    # For nginx 0 means "any size", for the app it means "none".
    largest = size(max(1, http.max_body_size_bytes))
    block = (
        *listen,
        Directive("server_name", options.server_name),
        *tls,
        *real_address(plan),
        Directive(
            "client_max_body_size", (largest,), comment="http.max_body_size_bytes of the service"
        ),
        Directive(
            "client_header_timeout",
            (seconds(http.header_timeout_s),),
            comment="http.header_timeout_s of the service",
        ),
        Directive("proxy_http_version", ("1.1",)),
        *headers(plan),
        *_timeouts(plan),
        *_retry(plan),
        *_upstream_tls(plan),
        *(Directive("include", (file,)) for file in options.include),
        *locations(plan),
    )
    return Directive("server", (), block, comment="The service.")


def _timeouts(plan: Plan) -> tuple[Directive, ...]:
    options = plan.options
    return (
        Directive("proxy_connect_timeout", (seconds(options.connect_timeout_s),)),
        Directive("proxy_read_timeout", (seconds(options.read_timeout_s),)),
        Directive("proxy_send_timeout", (seconds(options.send_timeout_s),)),
    )


def _retry(plan: Plan) -> tuple[Directive, ...]:
    options = plan.options
    if options.retry == "off":
        return (Directive("proxy_next_upstream", ("off",)),)
    words = {
        "error": ("error",),
        "timeout": ("error", "timeout"),
        "non_idempotent": ("error", "timeout", "non_idempotent"),
    }[options.retry]
    comment = {
        "error": "",
        "timeout": "a POST that was sent is not tried again",
        "non_idempotent": "WARNING: a POST may be done twice, if a worker dies while it does it",
    }[options.retry]
    return (
        Directive("proxy_next_upstream", words, comment=comment),
        Directive("proxy_next_upstream_tries", (str(TRIES),)),
        Directive(
            "proxy_next_upstream_timeout",
            (seconds(min(RETRY_TIMEOUT_S, options.read_timeout_s)),),
            comment="a request that takes longer than this is not given to another worker",
        ),
    )


def _upstream_tls(plan: Plan) -> tuple[Directive, ...]:
    tls = plan.settings.tls
    if tls.tls_certificate is None:
        return ()
    return (
        Directive(
            "proxy_ssl_server_name",
            ("on",),
            comment="the service speaks TLS itself (tls_certificate)",
        ),
        Directive("proxy_ssl_name", (_exact_name(plan),)),
        Directive("proxy_ssl_protocols", ("TLSv1.2", "TLSv1.3")),
    )


def _exact_name(plan: Plan) -> str:
    return next((name for name in plan.options.server_name if not name.startswith("*")), "$host")


def _certificate(plan: Plan) -> tuple[Directive, ...]:
    options = plan.options
    assert options.certificate is not None
    assert options.certificate_key is not None
    return (
        Directive("ssl_certificate", (literal(options.certificate, "the certificate's path"),)),
        Directive("ssl_certificate_key", (literal(options.certificate_key, "the key's path"),)),
    )


def _promises(plan: Plan) -> tuple[Directive, ...]:
    """Return the headers of answers. A location that adds one itself would inherit none."""
    made = []
    if age_s := plan.options.hsts_max_age_s:
        value = f"max-age={age_s}"
        made.append(Directive("add_header", ("Strict-Transport-Security", value, "always")))
    if plan.options.http3:
        value = f'h3=":{public_port(plan)}"; ma={ALT_SVC_S}'
        made.append(Directive("add_header", ("Alt-Svc", value, "always")))
    return tuple(made)


def _listen_tls(plan: Plan, *words: str) -> tuple[Directive, ...]:
    """Return the listeners of a TLS server; the first of them, the default one, binds QUIC."""
    options = plan.options
    port = options.https_port
    old_style = options.http2 and not plan.nginx.can("http2_directive")
    tcp = _listen(plan, port, "ssl", *(("http2",) if old_style else ()), *words)
    made = list(tcp)
    if options.http3:
        # reuseport may be said once per address; it must be said where the address comes first.
        first = bool(words) or not options.default_server
        quic = ("quic", *(("reuseport",) if first else ()), *words)
        made += _listen(plan, port, *quic)
    if plan.nginx.can("http2_directive"):
        made.append(Directive("http2", ("on" if options.http2 else "off",)))
    return tuple(made)


def _listen(plan: Plan, port: int, *words: str) -> tuple[Directive, ...]:
    return tuple(
        Directive("listen", (address, *words))
        for address in _addresses(plan.options.listen_address, port)
    )


def _addresses(given: Iterable[str], port: int) -> list[str]:
    hosts = [host.removeprefix("[").removesuffix("]") for host in given]
    if not hosts:
        return [str(port), f"[::]:{port}"]
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
