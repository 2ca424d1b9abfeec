"""How a client behaves: times in seconds, sizes in bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tornado_multi.dubbo.frames import MOST_BODY_BYTES

PROTOCOLS = ("dubbo", "telnet", "qos")
_AT_LEAST_ZERO = frozenset({"retries", "patience_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``DubboClient`` takes by name; its documentation says what each of them means.

    Raises: ValueError: one is out of its range; a full sentence.
    """

    protocol: str = "dubbo"
    connect_timeout_s: float = 3.0
    timeout_s: float = 5.0
    total_timeout_s: float = 15.0
    retries: int = 2
    patience_s: float = 10.0
    connections: int = 1
    idle_s: float = 50.0
    heartbeat_s: float = 60.0
    most_call_bytes: int = 8 * 1024 * 1024
    most_reply_bytes: int = 16 * 1024 * 1024
    charset: str = "utf-8"
    prompt: str | None = None

    def __post_init__(self) -> None:
        """Look at the ranges."""
        if self.protocol not in PROTOCOLS:
            text = f"protocol is {self.protocol!r}; it is one of {', '.join(PROTOCOLS)}."
            raise ValueError(text)
        for field in fields(self):
            value, is_whole = getattr(self, field.name), isinstance(field.default, int)
            if isinstance(field.default, str | None):
                continue
            least = 0 if field.name in _AT_LEAST_ZERO else 1 if is_whole else 1e-3
            is_number = isinstance(value, int if is_whole else int | float)
            if not is_number or not least <= value < float("inf"):
                what = "whole number" if is_whole else "number"
                text = f"{field.name} is {value!r}; it is a {what} of at least {least:g}."
                raise ValueError(text)
        if self.most_reply_bytes > MOST_BODY_BYTES * 16:
            text = f"most_reply_bytes is {self.most_reply_bytes}; it is at most {MOST_BODY_BYTES * 16}."
            raise ValueError(text)
        if self.prompt == "":
            raise ValueError("prompt is empty; without one the end of a reply can't be known.")
        try:
            b"dubbo>".decode(self.charset, "replace")
        except LookupError:
            text = f"charset is {self.charset!r}, which Python does not know as one of text."
            raise ValueError(text) from None
