r"""Lines to a provider: whatever is in the arguments, one command and nothing else. Pure.

A provider takes all that has arrived for one command, cuts it at ``DA BB``, deletes ``--no-prompt``
and control characters wherever they are, and some versions end the arguments at the first ``)`` or
space. So a line is plain ASCII, and inside strings everything that means something to anybody is
written as ``\\uXXXX``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.errors import BadArgumentError
from tornado_multi.dubbo.names import check_method, check_service

if TYPE_CHECKING:
    from collections.abc import Iterable

END = b"\r\n"
HANDSHAKE = b"    " + END
"""A blank line: its answer is the prompt alone. 3.3 looks at nothing shorter than five bytes."""
SERVICE_PORT_BYTES = 8 * 1024 * 1024
"""Dubbo's default for ``payload``. Of a longer line a provider runs the rest as a new command."""
QOS_BYTES = 2048
"""A longer line gets no reply at all."""
AUTO_TYPE_KEY = "@type"
"""With it fastjson makes objects of any class, which has been used to break into providers."""
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_SIGNIFICANT = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "()- \x7f"})
_COMMAND = re.compile(r"(?:ls|ps|status)(?: -l)?|pwd|live|ready|startup")


def encode_invoke(
    service: str | None, method: str, args: Iterable[Any], most_bytes: int = SERVICE_PORT_BYTES
) -> bytes:
    """Return the line that calls a method.

    Raises: BadArgumentError: a name is none, an argument has no form in JSON, or the line is too
        long.
    """
    target = check_method(method)
    if service is not None:
        check_service(service)
        target = f"{service}.{target}"
    return _line(f"invoke {target}({encode_args(args)})", most_bytes)


def encode_ls(service: str | None = None, most_bytes: int = SERVICE_PORT_BYTES) -> bytes:
    """Return the line that asks for services, or for the methods of one."""
    if service is not None:
        check_service(service)
    return _line("ls" if service is None else f"ls -l {service}", most_bytes)


def encode_command(command: str) -> bytes:
    """Return the line of a command that changes nothing, neither in the provider nor the connection.

    Raises: BadArgumentError: it may.
    """
    if not _COMMAND.fullmatch(command):
        text = f"{command!r:.80} is not sent: it is not among ls, ps, pwd, status, live, ready, startup."
        raise BadArgumentError(text)
    return _line(command, QOS_BYTES)


def encode_args(args: Iterable[Any]) -> str:
    """Return arguments as JSON without the brackets.

    Raises: BadArgumentError: one has no form in JSON.
    """
    listed = list(args)
    _refuse_auto_type(listed)
    try:
        text = json.dumps(listed, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgumentError(f"An argument has no form in JSON: {error}.") from error
    return _STRINGS.sub(lambda match: match[0].translate(_SIGNIFICANT), text[1:-1])


def _refuse_auto_type(value: Any) -> None:
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict | list | tuple) or id(item) in seen:
            continue
        seen.add(id(item))
        if not isinstance(item, dict):
            waiting += item
            continue
        if AUTO_TYPE_KEY in item:
            text = f"The key {AUTO_TYPE_KEY} makes a provider create any object; use class."
            raise BadArgumentError(text)
        waiting += item.values()


def _line(text: str, most_bytes: int) -> bytes:
    line = text.encode("ascii") + END
    if len(line) > most_bytes:
        where = "QoS" if most_bytes == QOS_BYTES else "this provider"
        text = f"The call takes {len(line)} bytes; {where} reads no more than {most_bytes}."
        raise BadArgumentError(f"{text} The binary protocol has no such limit.")
    return line
