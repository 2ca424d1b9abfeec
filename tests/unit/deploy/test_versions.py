"""What which version of nginx can do."""

from __future__ import annotations

import pytest

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.versions import (
    GATES,
    OLDEST,
    Nginx,
    Version,
    parse_program,
    refuse_old,
)

DEBIAN_12 = """nginx version: nginx/1.22.1
built with OpenSSL 3.0.2 15 Mar 2022 (running with OpenSSL 3.5.1 1 Jul 2025)
TLS SNI support enabled
configure arguments: --with-cc-opt='-O2'
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.22.1", Version(1, 22, 1)), ("1.31", Version(1, 31, 0)), ("1.9.0", Version(1, 9, 0))],
)
def test_a_version_is_read(text: str, version: Version) -> None:
    """With or without a third number; compared as numbers."""
    assert version == Version.parse(text)
    assert Version(1, 9) < Version(1, 22, 0) < Version(1, 22, 1)
    assert str(version).startswith(text)


@pytest.mark.parametrize("text", ["", "1", "1.2.3.4", "1.x", "v1.2", "1.22.1 ", "\u0661.\u0662"])
def test_what_is_no_version_is_refused(text: str) -> None:
    """Digits and dots alone."""
    with pytest.raises(ValueError, match="is no version such as"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("text", "nginx"),
    [
        (DEBIAN_12, Nginx(Version(1, 22, 1), Version(3, 5, 1))),
        ("nginx version: nginx/1.31.4 (Ubuntu)\n", Nginx(Version(1, 31, 4))),
        ("nginx version: openresty/1.21.4.1\n", None),
        ("nginx version: freenginx/nginx/1.27.0\n", Nginx(Version(1, 27, 0))),
        ("built with LibreSSL 3.8\nnginx version: nginx/1.26.0", Nginx(Version(1, 26, 0))),
    ],
)
def test_a_program_says_what_it_is(text: str, nginx: Nginx | None) -> None:
    """The library that runs counts, not the one that it was built with."""
    if nginx is None:
        with pytest.raises(ValueError, match="does not say its version"):
            parse_program(text)
    else:
        assert nginx == parse_program(text)


def test_a_gate_opens_at_its_version() -> None:
    """Not before, and the refusal says which version it takes."""
    for name, gate in GATES.items():
        before = Nginx(Version(gate.since.major, gate.since.minor - 1, 99))
        assert Nginx(gate.since).can(name)
        assert not before.can(name)
        with pytest.raises(RefusedError, match=f"needs nginx {gate.since} or later"):
            before.require(name, "it")


def test_what_is_older_than_anything_written_here_is_refused() -> None:
    """One sentence with both versions."""
    refuse_old(OLDEST)
    with pytest.raises(RefusedError, match=r"nginx 1\.17\.9 is too old.*1\.18\.0"):
        refuse_old(Version(1, 17, 9))
