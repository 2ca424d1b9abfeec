"""TLS as Mozilla's guidelines have it. Pure.

Source: Mozilla, Server Side TLS guidelines 6.0 (2026-04), intermediate and modern: protocols,
suites, curves, the age of HSTS. Stapling of OCSP answers is left out, because the largest authority
has none any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.versions import HYBRID_CURVES_SINCE

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.versions import Nginx
    from tornado_multi.settings.nginx import NginxSettings

INTERMEDIATE_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
CURVES = ("X25519", "prime256v1", "secp384r1")
HYBRID_CURVE = "?X25519MLKEM768"
"""With a question mark, which OpenSSL knows since 3.3: a library without it goes on with the others."""


def policy(options: NginxSettings, nginx: Nginx) -> tuple[Directive, ...]:
    """Return protocols, suites, curves and sessions, for all servers."""
    name = options.tls_profile
    modern = name == "modern"
    protocols = ("TLSv1.3",) if modern else ("TLSv1.2", "TLSv1.3")
    made = [Directive("ssl_protocols", protocols, comment=f"Mozilla guidelines 6.0, {name}")]
    if not modern:
        made.append(Directive("ssl_ciphers", (":".join(INTERMEDIATE_SUITES),)))
    if nginx.openssl is not None:  # else the library's own choice, which is no worse
        hybrid = nginx.openssl >= HYBRID_CURVES_SINCE
        curves = (HYBRID_CURVE, *CURVES) if hybrid else CURVES
        made.append(Directive("ssl_ecdh_curve", (":".join(curves),)))
    return (
        *made,
        Directive("ssl_prefer_server_ciphers", ("off",)),
        Directive("ssl_session_timeout", ("1d",)),
        Directive("ssl_session_cache", ("shared:SSL:10m",)),
        Directive(
            "ssl_session_tickets", ("off",), comment="their key would live as long as nginx does"
        ),
    )
