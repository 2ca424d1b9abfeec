"""Times and sizes as nginx writes them. Pure.

Source: nginx documentation, "Configuration file measurement units".
"""

from __future__ import annotations

import re

_TIME = re.compile(r"(?:\d+(?:ms|[yMwdhms]?)\s*)+", re.ASCII)
_TIME_PART = re.compile(r"(\d+)(ms|[yMwdhms]?)", re.ASCII)
_SECONDS = {
    "ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400,
    "M": 30 * 86400, "y": 365 * 86400,
}  # fmt: skip
_SIZE = re.compile(r"(\d+)([kKmMgG]?)", re.ASCII)
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_time_s(text: str) -> float | None:
    """Return ``1h 30m`` in seconds; None if it is no time, such as a variable."""
    if not _TIME.fullmatch(text):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _TIME_PART.findall(text))


def parse_size_bytes(text: str) -> int | None:
    """Return ``100m`` in bytes; None if it is no size."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _BYTES[found[2].lower()] if found else None


def size_text(size_bytes: int) -> str:
    """Return a size as nginx takes it: ``100m``."""
    for unit in ("g", "m", "k"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return str(size_bytes)
