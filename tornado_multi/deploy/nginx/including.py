"""A configuration with the files that it includes, through a reader that is given. Pure.

As in nginx, a relative path belongs to the directory of the main file, whoever includes it. A file
that holds no ``http`` block is taken for a part of a configuration (``sites-enabled/shop``): then
the directories above its own are tried too.
"""

from __future__ import annotations

import os.path
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from tornado_multi.deploy.nginx.reading import ReadingError, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado_multi.deploy.nginx.tree import Directive

MAX_FILES = 5000
"""Files that include others twice each would otherwise never end."""
PATTERN_CHARACTERS = frozenset("*?[")


class Reader(Protocol):
    """What the pure part asks for."""

    def read(self, path: str) -> str:
        """Return the text of a file. Raises: OSError."""

    def glob(self, pattern: str) -> Sequence[str]:
        """Return the paths that match, in order; none is no error."""


def read_all(path: str, reader: Reader, directory: str | None = None) -> tuple[Directive, ...]:
    """Return the directives of a file; each ``include`` is replaced by what it leads to.

    Args: directory: what relative paths belong to; None: that of *path*.
    Raises: ReadingError: a file can't be read or parsed, is missing, or includes itself.
    """
    try:
        text = reader.read(path)
    except OSError as error:
        raise ReadingError(path, 0, f"Can't read it: {error.strerror or error}.") from error
    tree = read(text, path)
    base = os.path.dirname(path) if directory is None else directory
    bases = [base]
    if not any(one.name == "http" and one.block is not None for one in tree):
        bases = list(_upwards(base))
    return tuple(_Including(reader, bases).expand(tree, (path,)))


def _upwards(directory: str) -> Iterator[str]:
    yield directory
    while (above := os.path.dirname(directory)) != directory:
        yield above
        directory = above


class _Including:
    def __init__(self, reader: Reader, bases: list[str]) -> None:
        self._reader = reader
        self._bases = bases
        self._files = 0

    def expand(self, tree: tuple[Directive, ...], within: tuple[str, ...]) -> Iterator[Directive]:
        for one in tree:
            if one.block is not None:
                yield replace(one, block=tuple(self.expand(one.block, within)))
            elif one.name == "include" and len(one.args) == 1:
                for path, text in self._found(one):
                    yield from self._included(path, text, one, within)
            else:
                yield one

    def _included(
        self, path: str, text: str, by: Directive, within: tuple[str, ...]
    ) -> Iterator[Directive]:
        self._files += 1
        if path in within:
            raise ReadingError(by.file, by.line, f"{path} is included by itself.")
        if self._files > MAX_FILES:
            raise ReadingError(by.file, by.line, f"More than {MAX_FILES} files are included.")
        yield from self.expand(read(text, path), (*within, path))

    def _found(self, by: Directive) -> list[tuple[str, str]]:
        """Return path and text of each file that one ``include`` names."""
        wanted = by.args[0]
        bases = self._bases[:1] if wanted.startswith("/") else self._bases
        paths = [os.path.normpath(os.path.join(base, wanted)) for base in bases]
        if PATTERN_CHARACTERS & set(wanted):
            found = next(filter(None, map(self._reader.glob, paths)), ())
            return [(path, self._text(path, by)) for path in found]
        for path in paths:
            try:
                return [(path, self._reader.read(path))]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(path, by, error) from error
        raise ReadingError(by.file, by.line, f"The included file {paths[0]} does not exist.")

    def _text(self, path: str, by: Directive) -> str:
        try:
            return self._reader.read(path)
        except OSError as error:
            raise _unreadable(path, by, error) from error


def _unreadable(path: str, by: Directive, error: OSError) -> ReadingError:
    return ReadingError(
        by.file, by.line, f"Can't read the included file {path}: {error.strerror or error}."
    )
