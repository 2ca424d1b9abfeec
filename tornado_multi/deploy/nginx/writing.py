"""From a tree of directives to text that nginx reads back as the same tree; and to JSON. Pure.

How nginx unquotes: within quotes, a backslash stands for the next quote or backslash, and for tab,
return and newline before t, r and n; before anything else it is itself. A $ begins a variable in
quotes too, and nothing takes that from it.
Source: nginx 1.22.1, src/core/ngx_conf_file.c, ngx_conf_read_token.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from tornado_multi.deploy.nginx.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado_multi.deploy.nginx.tree import Directive

INDENT = "    "
WIDTH = 100
MAX_ARGUMENT_BYTES = 4000
"""nginx reads through a buffer of 4096 bytes, which one argument must fit into (NGX_CONF_BUFFER)."""
PLAIN = re.compile(r"[A-Za-z0-9_./:$@%+=~*^,|()\[\]?!<>&-]+")
NAME = re.compile(r"[A-Za-z0-9_./*~$^:-]+")


def quote(argument: str) -> str:
    """Return an argument so that nginx reads exactly this text; a $ stays the begin of a variable.

    Raises: RefusedError: control characters, no valid text, or too long for nginx.
    """
    _refuse_unwritable(argument)
    if PLAIN.fullmatch(argument):
        return argument
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def literal(text: str, what: str) -> str:
    """Return a text for a place where nginx looks for variables, if it has none.

    Args: what: names it in the error, as in "the directory".
    Raises: RefusedError: it has a $, which can't be escaped.
    """
    if "$" in text:
        message = (
            f"{what} {text!r} has a $, which nginx takes for a variable and can't be told not to."
        )
        raise RefusedError(message)
    return text


def render(directives: Sequence[Directive], head: Sequence[str] = ()) -> str:
    """Return the text of a file.

    Args: head: sentences for comments at its top, a line each.
    Raises: RefusedError: an argument can't be written.
    """
    lines = [line for sentence in head for line in _comment(sentence, 0)]
    if lines:
        lines.append("")
    lines += _lines(directives, 0)
    return "\n".join(lines) + "\n"


def to_plain(directives: Sequence[Directive]) -> list[dict[str, Any]]:
    """Return the tree as JSON-ready data: directive, args and, if there, block and comment."""
    plain = []
    for item in directives:
        entry: dict[str, Any] = {"directive": item.name, "args": list(item.args)}
        if item.block is not None:
            entry["block"] = to_plain(item.block)
        if item.comment:
            entry["comment"] = item.comment
        plain.append(entry)
    return plain


def _lines(directives: Sequence[Directive], depth: int) -> Iterator[str]:
    indent = INDENT * depth
    previous: Directive | None = None
    for item in directives:
        if previous is not None and (_is_large(item) or _is_large(previous)):
            yield ""  # blocks stand apart
        previous = item
        text = " ".join([_name(item.name), *map(quote, item.args)])
        if item.block is None:
            line = f"{indent}{text};"
            if not item.comment:
                yield line
            elif len(line) + 3 + len(item.comment) <= WIDTH:
                _refuse_unwritable(item.comment)
                yield f"{line}  # {item.comment}"
            else:
                yield from _comment(item.comment, depth)
                yield line
            continue
        if item.comment:
            yield from _comment(item.comment, depth)
        if not item.block:
            yield f"{indent}{text} {{}}"
            continue
        yield f"{indent}{text} {{"
        yield from _lines(item.block, depth + 1)
        yield f"{indent}}}"


def _is_large(item: Directive) -> bool:
    return bool(item.block)


def _name(name: str) -> str:
    # Within map, geo and types the first word is a value: "" or a pattern.
    _refuse_unwritable(name)
    return name if NAME.fullmatch(name) else quote(name)


def _comment(sentence: str, depth: int) -> list[str]:
    _refuse_unwritable(sentence)
    indent = INDENT * depth
    return textwrap.wrap(
        sentence,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _refuse_unwritable(text: str) -> None:
    # The line and paragraph separators of Unicode are no line ends for nginx.
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        message = f"{text!r} has a control character or a line end, which no configuration of nginx needs."
        raise RefusedError(message)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        message = f"{text!r} is no valid text (UTF-8)."
        raise RefusedError(message) from None
    if size_bytes > MAX_ARGUMENT_BYTES:
        message = (
            f"{text[:40]!r}... has {size_bytes} bytes; nginx takes {MAX_ARGUMENT_BYTES} at most."
        )
        raise RefusedError(message)
