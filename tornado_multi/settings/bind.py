"""Addresses to listen on, from text to data. Pure.

Accepted: ``host:port`` · ``[v6]:port`` · ``:port`` (every IPv4 interface) ·
``unix:/path?mode=660&group=www-data`` · ``fd://N`` · ``fd://NAME``.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import parse_qsl

MAX_PORT = 65535
MAX_UNIX_PATH_BYTES = 107  # sun_path is 108 bytes with its final zero: unix(7)
HIGHEST_MODE = 0o777
HIGHEST_FD = 2**31 - 1  # a C int


@dataclass(frozen=True, slots=True)
class TcpBind:
    """A TCP address. ``host`` is a name or a literal without brackets; port 0 = any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixBind:
    """A socket in the file system; its file gets *mode* and, if given, *group*."""

    path: str
    mode: int = 0o600
    group: str | None = None


@dataclass(frozen=True, slots=True)
class FdBind:
    """A listening socket that the supervisor inherited as this file descriptor."""

    fd: int


@dataclass(frozen=True, slots=True)
class NamedFdBind:
    """The listening sockets that systemd passes under this name (FileDescriptorName=)."""

    name: str


Bind = TcpBind | UnixBind | FdBind | NamedFdBind


def parse_bind(text: str) -> Bind:
    """Parse one ``--bind`` value.

    Raises: ValueError: with one sentence that says what is allowed.
    """
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    if text.startswith("fd://"):
        return _parse_fd(text.removeprefix("fd://"))
    if "/" in text:
        message = f"looks like a path or a URL; write host:port, or unix:{text}"
        raise ValueError(message)
    host, colon, port_text = text.rpartition(":")
    if not colon:
        hint = f"127.0.0.1:{text}" if text.isdigit() else f"{text or 'host'}:8888"
        message = f"must be host:port, unix:/path or fd://N; did you mean {hint}?"
        raise ValueError(message)
    return TcpBind(_parse_host(host), _parse_port(port_text))


def _parse_fd(text: str) -> FdBind | NamedFdBind:
    if _is_number(text, HIGHEST_FD):
        return FdBind(int(text))
    # systemd.socket(5): printable ASCII without control characters and colons.
    is_name = text.isascii() and text.isprintable() and ":" not in text
    if not is_name or not text[:1].isalpha():
        message = f"fd:// takes a number or a name, as in fd://3 or fd://http, not {text!r}"
        raise ValueError(message)
    return NamedFdBind(text)


def _parse_port(text: str) -> int:
    if not _is_number(text, MAX_PORT):
        message = f"the port must be 0..{MAX_PORT}, not {text!r}"
        raise ValueError(message)
    return int(text)


def _is_number(text: str, highest: int) -> bool:
    """Tell whether *text* is plain digits of 0..highest (int() alone takes " 1_0" and more)."""
    if not (text.isascii() and text.isdigit()):
        return False
    digits = text.lstrip("0")
    return len(digits) <= len(str(highest)) and int(digits or "0") <= highest


def _parse_host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        host = text[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            message = f"[{host}] is no IPv6 address"
            raise ValueError(message) from None
        return host
    if ":" in text:
        message = f"an IPv6 address stands in brackets: [{text}]:port"
        raise ValueError(message)
    return "0.0.0.0" if text in {"", "*"} else text  # noqa: S104 - the user wrote ":port"


def _parse_unix(text: str) -> UnixBind:
    path, _, query = text.partition("?")
    if not path.startswith("/"):
        message = f"unix: takes an absolute path, as in unix:/run/shop.sock, not {path!r}"
        raise ValueError(message)
    if "\0" in path:
        raise ValueError("a path has no zero byte")
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        message = f"the path is longer than {MAX_UNIX_PATH_BYTES} bytes, the kernel's limit"
        raise ValueError(message)
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - {"mode", "group"})
    if unknown:
        message = f"unknown unix option {unknown[0]!r}; mode and group are known"
        raise ValueError(message)
    mode = 0o600
    if "mode" in options:
        try:
            mode = int(options["mode"], 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= HIGHEST_MODE:
            message = f"mode must be octal digits such as 660, not {options['mode']!r}"
            raise ValueError(message)
    return UnixBind(path, mode, options.get("group") or None)
