"""What a provider answers to ls and status, in the form of each version. Pure."""

from __future__ import annotations

from tornado_multi.dubbo.errors import BadReplyError, NotAllowedError
from tornado_multi.dubbo.telnet.replies import refusal

_TABLE = "As Provider side:"
_TABLE_END = "As Consumer side:"
_INTERNAL = "DubboInternal - "
"""How 3.x names the services that it has for itself."""
_HEADS = ("PROVIDER:", "(as provider):")
_END_HEADS = ("CONSUMER:", "(as consumer):")
_DEFAULT_SERVICE = "Use default service "


def parse_ls(text: str, name: str, service: str | None = None) -> list[str]:
    """Return services, or the methods of *service* with their types, one each.

    Args: text: a whole reply. name: of the command, for error texts.
    Raises: RefusedError and its kinds: the provider does not list them.
    """
    known = refusal(text, name)
    if known is not None:
        raise known
    lines = text.splitlines()
    if _TABLE in lines:
        if service is not None:
            text = f"{name}: QoS lists services alone, not the methods of {service}."
            raise NotAllowedError(text)
        return _table(lines)
    found = []
    for line in map(str.strip, lines):
        if line.endswith(_END_HEADS):
            break
        if line and not line.endswith(_HEADS) and not line.startswith(_DEFAULT_SERVICE):
            found.append(line)
    return found


def _table(lines: list[str]) -> list[str]:
    """Return the first cells of the first table, without its head."""
    begin = lines.index(_TABLE) + 1
    end = lines.index(_TABLE_END) if _TABLE_END in lines else len(lines)
    rows = [line.split("|")[1].strip() for line in lines[begin:end] if line.startswith("|")]
    return [row for row in rows[1:] if not row.startswith(_INTERNAL)]


def parse_status(text: str, name: str) -> str:
    """Return the one word that a provider says of itself.

    Raises: RefusedError and its kinds: it does not. BadReplyError: it is no word.
    """
    known = refusal(text, name)
    if known is not None:
        raise known
    word = text.strip()
    if not word.isalpha():
        raise BadReplyError(f"{name}: the reply is no status: {word!r:.300}.")
    return word
