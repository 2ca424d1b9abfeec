"""Addresses to listen on, from text to data."""

from __future__ import annotations

import random
import re
import string

import pytest

from tornado_multi.settings.bind import (
    MAX_UNIX_PATH_BYTES,
    Bind,
    FdBind,
    NamedFdBind,
    TcpBind,
    UnixBind,
    parse_bind,
)

LONGEST_PATH = "/" + "x" * (MAX_UNIX_PATH_BYTES - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8888", TcpBind("127.0.0.1", 8888)),
        ("127.0.0.1:0", TcpBind("127.0.0.1", 0)),
        ("127.0.0.1:65535", TcpBind("127.0.0.1", 65535)),
        ("127.0.0.1:00080", TcpBind("127.0.0.1", 80)),
        ("localhost:80", TcpBind("localhost", 80)),
        ("shop-1.example.com:80", TcpBind("shop-1.example.com", 80)),
        (":8888", TcpBind("0.0.0.0", 8888)),
        ("*:8888", TcpBind("0.0.0.0", 8888)),
        ("[::1]:8888", TcpBind("::1", 8888)),
        ("[::]:8888", TcpBind("::", 8888)),
        ("[fe80::1%eth0]:8888", TcpBind("fe80::1%eth0", 8888)),
        ("unix:/run/shop.sock", UnixBind("/run/shop.sock", 0o600, None)),
        ("unix:/run/shop.sock?mode=660", UnixBind("/run/shop.sock", 0o660, None)),
        ("unix:/s?mode=660&group=www-data", UnixBind("/s", 0o660, "www-data")),
        ("unix:/s?group=www-data&mode=0666", UnixBind("/s", 0o666, "www-data")),
        ("unix:/s?mode=0", UnixBind("/s", 0, None)),
        ("unix:/s?mode=777", UnixBind("/s", 0o777, None)),
        ("unix:/s?group=", UnixBind("/s", 0o600, None)),
        ("unix:/s?", UnixBind("/s", 0o600, None)),
        ("unix:/with space:and:colons", UnixBind("/with space:and:colons", 0o600, None)),
        ("unix:/é", UnixBind("/é", 0o600, None)),
        (f"unix:{LONGEST_PATH}", UnixBind(LONGEST_PATH, 0o600, None)),
        ("fd://3", FdBind(3)),
        ("fd://0", FdBind(0)),
        ("fd://http", NamedFdBind("http")),
        ("fd://app@1.socket", NamedFdBind("app@1.socket")),
        (f"fd://{2**31 - 1}", FdBind(2**31 - 1)),
    ],
)
def test_what_is_allowed(text: str, expected: Bind) -> None:
    """host:port, [v6]:port, :port, unix:/path with its options, fd://N, fd://NAME."""
    assert expected == parse_bind(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "did you mean host:8888?"),
        ("8888", "did you mean 127.0.0.1:8888?"),
        ("localhost", "did you mean localhost:8888?"),
        ("http://127.0.0.1:8888", "looks like a path or a URL; write host:port"),
        ("/run/shop.sock", "or unix:/run/shop.sock"),
        ("127.0.0.1:", "the port must be 0..65535, not ''"),
        ("127.0.0.1:65536", "the port must be 0..65535, not '65536'"),
        ("127.0.0.1:-1", "the port must be 0..65535, not '-1'"),
        ("127.0.0.1:+80", "the port must be 0..65535, not '+80'"),
        ("127.0.0.1: 80", "the port must be 0..65535, not ' 80'"),
        ("127.0.0.1:8_0", "the port must be 0..65535, not '8_0'"),
        ("127.0.0.1:http", "the port must be 0..65535, not 'http'"),
        ("127.0.0.1:²", "the port must be 0..65535"),
        ("127.0.0.1:" + "9" * 5000, "the port must be 0..65535"),
        ("::1:8888", "an IPv6 address stands in brackets: [::1]:port"),
        ("[::1", "an IPv6 address stands in brackets"),
        ("[::1]", "an IPv6 address stands in brackets"),
        ("[127.0.0.1]:80", "[127.0.0.1] is no IPv6 address"),
        ("[]:80", "[] is no IPv6 address"),
        ("unix:", "unix: takes an absolute path, as in unix:/run/shop.sock, not ''"),
        ("unix:shop.sock", "unix: takes an absolute path, as in unix:/run/shop.sock"),
        ("unix:?mode=660", "unix: takes an absolute path"),
        (f"unix:{LONGEST_PATH}x", "longer than 107 bytes"),
        ("unix:/" + "é" * 54, "longer than 107 bytes"),
        ("unix:/a\0b", "no zero byte"),
        ("unix:/s?mode=888", "mode must be octal digits such as 660, not '888'"),
        ("unix:/s?mode=1777", "mode must be octal digits such as 660"),
        ("unix:/s?mode=-1", "mode must be octal digits such as 660"),
        ("unix:/s?mode=", "mode must be octal digits such as 660, not ''"),
        ("unix:/s?owner=root", "unknown unix option 'owner'; mode and group are known"),
        ("unix:/s?660", "unknown unix option '660'"),
        ("fd://", "fd:// takes a number or a name, as in fd://3 or fd://http, not ''"),
        ("fd://a:b", "fd:// takes a number or a name, as in fd://3 or fd://http, not 'a:b'"),
        ("fd://-1", "fd:// takes a number"),
        ("fd://3/", "fd:// takes a number"),
        ("fd://٣", "fd:// takes a number"),
        (f"fd://{2**31}", "fd:// takes a number"),
        ("fd://" + "9" * 5000, "fd:// takes a number"),
    ],
)
def test_what_is_refused_says_what_is_allowed(text: str, said: str) -> None:
    """One sentence: what was seen, and what to write instead."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_bind(text)


@pytest.mark.parametrize("seed", range(5))
def test_any_text_is_an_address_or_refused(seed: int) -> None:
    """Nothing but ValueError, whatever is typed."""
    rng = random.Random(seed)
    parts = ["unix:", "fd://", "[", "]", "::1", ":", "/", "?", "mode=", "660", "&", "%", "0", "é"]
    for _ in range(2000):
        pieces = [
            rng.choice(parts) if rng.random() < 0.8 else rng.choice(string.printable)
            for _ in range(rng.randint(0, 8))
        ]
        try:
            bind = parse_bind("".join(pieces))
        except ValueError:
            continue

        assert isinstance(bind, (TcpBind, UnixBind, FdBind, NamedFdBind))
