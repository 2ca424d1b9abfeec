"""What which version of nginx can do. Pure.

Sources: documentation of nginx, the directives' "appeared in version"; release notes of 1.25 to
1.31; the Mozilla guidelines for the library's part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from tornado_multi.deploy.nginx.errors import RefusedError

FOUND_NGINX = re.compile(r"^nginx version: \S*?nginx/(\d+\.\d+\.\d+)", re.MULTILINE)
FOUND_OPENSSL = re.compile(r"\bOpenSSL (\d+\.\d+\.\d+)")


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A version of nginx or of OpenSSL."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.22.1`` or ``1.31``.

        Raises: ValueError: it is no version.
        """
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text, re.ASCII)
        if match is None:
            message = f"{text!r} is no version such as 1.22.1"
            raise ValueError(message)
        return cls(*(int(part or 0) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Nginx:
    """A program, as far as its configuration depends on it."""

    version: Version
    openssl: Version | None = None
    """None: not known."""

    def can(self, feature: str) -> bool:
        """Tell whether it has a feature of ``GATES``."""
        return self.version >= GATES[feature].since

    def require(self, feature: str, asked_by: str) -> None:
        """Raises: RefusedError: it is too old for what an option asks for."""
        gate = GATES[feature]
        if not self.can(feature):
            message = (
                f"{asked_by} needs nginx {gate.since} or later ({gate.what}), and this is for nginx "
                f"{self.version}."
            )
            raise RefusedError(message)


@dataclass(frozen=True, slots=True)
class Gate:
    """Since when something is there."""

    since: Version
    what: str


OLDEST = Version(1, 18, 0)
"""Of what is written here; Debian 11 and Ubuntu 20.04 have it."""

GATES = {
    "reject_handshake": Gate(Version(1, 19, 4), "ssl_reject_handshake"),
    "error_log_flag": Gate(Version(1, 19, 5), "the flag -e"),
    "http3": Gate(Version(1, 25, 0), "listen ... quic"),
    "http2_directive": Gate(Version(1, 25, 1), "http2 on, where it was a word of listen before"),
    "keepalive_min_timeout": Gate(Version(1, 27, 4), "keepalive_min_timeout"),
    "upstream_keepalive_default": Gate(Version(1, 29, 7), "HTTP/1.1 to the upstream by default"),
}
"""Never written, because the open source version has none: slow_start, health_check, queue."""

HYBRID_CURVES_SINCE = Version(3, 5, 0)
"""OpenSSL's first version with X25519MLKEM768."""


def parse_program(text: str) -> Nginx:
    """Read what ``nginx -V`` (or ``-v``) prints.

    Raises: ValueError: it is not nginx.
    """
    found = FOUND_NGINX.search(text)
    if found is None:
        message = f"it does not say its version, but {text.strip()[:80]!r}"
        raise ValueError(message)
    # "built with OpenSSL 3.0.2 (running with OpenSSL 3.5.1)": what runs counts.
    libraries = FOUND_OPENSSL.findall(text)
    return Nginx(Version.parse(found[1]), Version.parse(libraries[-1]) if libraries else None)


def refuse_old(version: Version) -> None:
    """Raises: RefusedError: what is written needs a later one."""
    if version < OLDEST:
        message = f"nginx {version} is too old: what is written here needs {OLDEST} or later."
        raise RefusedError(message)
