"""From the text of a configuration to directives, by nginx's own rules. Pure.

Takes what nginx takes: words end at white space, ``;`` or ``{``; quotes hold only at the beginning
of a word; a backslash keeps the next character from ending anything, and disappears before quotes
and itself; ``${`` opens no block. Which directives exist, and where, is nginx's affair.
Source: nginx 1.22.1, ngx_conf_file.c, ngx_conf_read_token; lua-nginx-module for its blocks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.tree import Directive

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WORD_BYTES = 4095
"""nginx reads into 4096 bytes (NGX_CONF_BUFFER), and the end of the word must be among them."""
MAX_DEPTH = 100
"""nginx has no such limit, and no configuration such depth; ours keeps later walks short."""
LUA_BLOCK = "_by_lua_block"

_BLANK = re.compile(r"[ \t\r\n]*+")
_COMMENT = re.compile(r"[^\n]*+")
_WORD = re.compile(r"(?:\\.|\$\{*+|[^\\$ \t\r\n;{])*+", re.DOTALL)
_QUOTED = {
    '"': re.compile(r'(?:\\.|[^"\\])*+', re.DOTALL),
    "'": re.compile(r"(?:\\.|[^'\\])*+", re.DOTALL),
}
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}
_LUA = re.compile(
    r"""--\[(=*+)\[.*?\]\1\] | --[^\n]*+ | \[(=*+)\[.*?\]\2\]
        | "(?:\\.|[^"\\\n])*+" | '(?:\\.|[^'\\\n])*+' | [{}]""",
    re.DOTALL | re.VERBOSE,
)


class ReadingError(ValueError):
    """A configuration can't be read; the text is ``file:line: sentence``."""

    def __init__(self, file: str, line: int, sentence: str) -> None:
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {sentence}")
        self.file = file
        self.line = line
        """From 1 on; 0: the file as a whole."""
        self.sentence = sentence


def read(text: str, file: str = "") -> tuple[Directive, ...]:
    """Return the directives of one file, each with its line; includes stay as they are.

    Args: file: its name, for places in errors and findings.
    Raises: ReadingError: nginx would refuse it too, or blocks are nested deeper than MAX_DEPTH.
    """
    return _Parser(text, file).parse()


class _Open:
    """A block whose end has not come."""

    def __init__(self, words: list[str], line: int) -> None:
        self.words = words
        self.line = line
        self.inner: list[Directive] = []


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._line = 1

    def parse(self) -> tuple[Directive, ...]:
        if self._text.startswith("\ufeff"):
            raise self._error(
                "The file begins with a byte order mark, which nginx takes for a part of the first "
                "word; save it without one."
            )
        open_blocks = [_Open([], 0)]
        for end, words, line in self._statements():
            if end == "}":
                block = open_blocks.pop()
                if not open_blocks:
                    raise self._error('An unexpected "}": no block is open here.')
                made = self._made(block.words, block.line, tuple(block.inner))
                open_blocks[-1].inner.append(made)
            elif end == "{" and words[0].endswith(LUA_BLOCK):
                code = self._lua()
                open_blocks[-1].inner.append(self._made([*words, code], line, None))
            elif end == "{":
                if len(open_blocks) > MAX_DEPTH:
                    raise self._error(f"Blocks are nested more than {MAX_DEPTH} deep.")
                open_blocks.append(_Open(words, line))
            else:
                open_blocks[-1].inner.append(self._made(words, line, None))
        last = open_blocks[-1]
        if len(open_blocks) > 1:
            raise self._error(
                f'The file ends, and the block {last.words[0]} of line {last.line} has no "}}".'
            )
        return tuple(last.inner)

    def _made(self, words: list[str], line: int, block: tuple[Directive, ...] | None) -> Directive:
        return Directive(words[0], tuple(words[1:]), block, line=line, file=self._file)

    def _error(self, sentence: str, line: int | None = None) -> ReadingError:
        return ReadingError(self._file, self._line if line is None else line, sentence)

    def _statements(self) -> Iterator[tuple[str, list[str], int]]:
        """Yield what ends a statement (``;``, ``{`` or ``}``), its words, and its first line."""
        text = self._text
        words: list[str] = []
        line = 1
        while True:
            self._take(_BLANK)
            if self._at >= len(text):
                if words:
                    raise self._unfinished(line)
                return
            head = text[self._at]
            if head == "#":
                self._take(_COMMENT)
                continue
            if head in ";{}":
                if bool(words) == (head == "}"):
                    raise self._error(_unexpected(head, words))
                self._at += 1
                yield head, words, line
                words = []
                continue
            if not words:
                line = self._line
            words.append(self._word(head))

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Return what *pattern* matches here, and go behind it; it may match nothing."""
        found = pattern.match(self._text, self._at)
        taken = found.group() if found else ""
        self._at += len(taken)
        self._line += taken.count("\n")
        return taken

    def _word(self, head: str) -> str:
        line = self._line
        quoted = _QUOTED.get(head)
        if quoted is not None:
            self._at += 1
        taken = self._take(quoted or _WORD)
        if len(taken) > MAX_WORD_BYTES or len(_bytes(taken)) > MAX_WORD_BYTES:
            hint = f", probably because its closing {head} is missing" if quoted else ""
            raise self._error(f"A word is longer than {MAX_WORD_BYTES} bytes{hint}.", line)
        # A backslash at the very end is taken by neither pattern.
        if quoted is not None and not self._text.startswith(head, self._at):
            raise self._error(f"A word begins with {head} here and has no closing one.", line)
        if quoted is None and (self._at >= len(self._text) or not taken):
            raise self._unfinished(line)
        if quoted is not None:
            self._at += 1
            after = self._text[self._at : self._at + 1]
            if after and after not in " \t\r\n;{)":
                raise self._error(
                    f"An unexpected {after!r} behind a closing {head}: white space, ; or {{ must "
                    "follow."
                )
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), taken)

    def _unfinished(self, line: int) -> ReadingError:
        return self._error('The file ends within a directive: a ";" is missing.', line)

    def _lua(self) -> str:
        """Return the code of a Lua block, and go behind its closing brace."""
        begin, line, depth = self._at, self._line, 1
        for found in _LUA.finditer(self._text, begin):
            depth += {"{": 1, "}": -1}.get(found.group(), 0)
            if depth == 0:
                self._at = found.end()
                self._line += self._text.count("\n", begin, self._at)
                return self._text[begin : found.start()]
        raise self._error("The file ends within this block of Lua code.", line)


def _unexpected(head: str, words: list[str]) -> str:
    if head == "}":
        return f'An unexpected "}}": the directive {words[0]} before it lacks its ";".'
    return f'An unexpected "{head}": no directive stands before it.'


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
