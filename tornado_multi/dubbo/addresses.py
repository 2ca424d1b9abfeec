"""Where a provider is. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_PORT = 20880
_TEXT = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.%\w]+)\](?::(?P<port6>\d+))?|(?P<host>[^:\s/\[\]]+)(?::(?P<port>\d+))?"
)


class Address(NamedTuple):
    """A host (name or number) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read ``host``, ``host:port``, ``[::1]``, ``[::1]:port`` or a bare IPv6 number.

    Also as providers write it, with ``dubbo://`` before.

    Raises: ValueError: it is none of them; a full sentence.
    """
    text = text.strip().removeprefix("dubbo://")
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no address of a provider; one is like 10.0.0.5:20880.")
    number = int(match["port6"] or match["port"] or default_port)
    if not 0 < number < 65536:
        raise ValueError(f"{text!r}: a port is between 1 and 65535.")
    return Address(match["six"] or match["host"], number)
