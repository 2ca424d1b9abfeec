"""What providers have written into a registry about themselves. Pure.

An entry is the URL of a provider: ``dubbo://10.0.0.5:20880/com.example.AccountService?version=...``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from tornado_multi.dubbo.addresses import DEFAULT_PORT, Address
from tornado_multi.dubbo.names import NO_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

READABLE = frozenset({"", "hessian2"})
"""Serializations that this client speaks; none named is Hessian 2."""


def addresses_of(entries: Iterable[str], version: str, group: str | None) -> tuple[Address, ...]:
    """Return where a service can be called, in the order of the entries, each once.

    Args: entries: URLs, encoded as registries keep them. version: ``0.0.0`` is none, ``*`` any.
    """
    found: dict[Address, None] = {}
    for entry in entries:
        with contextlib.suppress(ValueError):  # somebody else's text is no reason to fail
            url = urlsplit(unquote(entry))
            if _fits(url.scheme, url.query, version, group) and url.hostname is not None:
                found[Address(url.hostname, url.port or DEFAULT_PORT)] = None
    return tuple(found)


def _fits(scheme: str, query: str, version: str, group: str | None) -> bool:
    values = {key: texts[0] for key, texts in parse_qs(query).items()}
    if scheme != "dubbo" or values.get("disabled") == "true" or values.get("enabled") == "false":
        return False
    if values.get("weight") == "0" or values.get("serialization", "") not in READABLE:
        return False
    if version != "*" and values.get("version", NO_VERSION) != version:
        return False
    return values.get("group") == group
