"""The scoreboard: shared memory with one row per worker process.

A memfd, made by the supervisor, mapped by every process of the tree. The supervisor zeroes a row
and hands it out with the Fork command; from then on the worker alone writes it. Header words are
the supervisor's. Every field is one aligned 64-bit signed word, written by one store, and no reader
depends on two fields at once, so there is no lock. Sized once for MAX_ROWS rows: untouched rows
cost no memory (the file is sparse).

Layout, in 8-byte words:  header (512 words)  |  row 0 (32 words)  |  row 1  | ...
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from typing import Final

LAYOUT_VERSION: Final = 1
MAGIC: Final = 0x744D_554C_5449  # "tMULTI"
MAX_ROWS: Final = 4096
WORD_BYTES: Final = 8
HEADER_WORDS: Final = 512  # one page
ROW_WORDS: Final = 32  # 256 bytes: rows never share a cache line, and there is room to grow
SIZE_BYTES: Final = (HEADER_WORDS + MAX_ROWS * ROW_WORDS) * WORD_BYTES

# Header words.
_MAGIC_WORD: Final = 0
_LAYOUT_WORD: Final = 1
_ROWS_IN_USE_WORD: Final = 2

# Fields of a row. Plain integers, not an enum: a worker adds them to an index on every request.
# The first seven are what any supervisor version may rely on.
LAYOUT: Final = 0
PID: Final = 1
FORK_ID: Final = 2
GENERATION: Final = 3
STATE: Final = 4
BEAT_NS: Final = 5  # CLOCK_MONOTONIC
REQUESTS: Final = 6  # begun since the worker started
IN_FLIGHT: Final = 7
CONNECTIONS: Final = 8
LAG_NS: Final = 9  # how late the last beat came
ROUTE_ID: Final = (
    10  # of the step that runs, else of the request begun last, 0 when none is in flight
)
CPU_NS: Final = 11  # user + system
PSS_BYTES: Final = 12  # 0 = not measured yet
RSS_BYTES: Final = 13
STARTED_NS: Final = 14  # CLOCK_MONOTONIC, when the worker took the row


class RowState(IntEnum):
    """Values of the STATE field."""

    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class ScoreboardError(Exception):
    """The shared memory is not a scoreboard of this layout."""


class Row:
    """A worker's own row: the hot path adds a field constant to ``base`` in ``words``."""

    __slots__ = ("base", "index", "words")

    def __init__(self, words: memoryview[int], index: int) -> None:
        self.words = words
        self.index = index
        self.base = HEADER_WORDS + index * ROW_WORDS

    def load(self, field: int) -> int:
        return self.words[self.base + field]

    def store(self, field: int, value: int) -> None:
        self.words[self.base + field] = value

    def add(self, field: int, delta: int) -> None:
        self.words[self.base + field] += delta


class Scoreboard:
    """The mapping in this process."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE_BYTES, mmap.MAP_SHARED)
        self.words: memoryview[int] = memoryview(self._map).cast("q")

    @classmethod
    def create(cls) -> tuple[Scoreboard, int]:
        """Create the memfd (close-on-exec) and map it; return both. Runs in: supervisor."""
        fd = os.memfd_create("tornado_multi scoreboard")
        os.ftruncate(fd, SIZE_BYTES)
        board = cls(fd)
        board.words[_MAGIC_WORD] = MAGIC
        board.words[_LAYOUT_WORD] = LAYOUT_VERSION
        return board, fd

    @classmethod
    def attach(cls, fd: int) -> Scoreboard:
        """Map an inherited scoreboard. Runs in: zygote.

        Raises: ScoreboardError: another layout.
        """
        size_bytes = os.fstat(fd).st_size
        if size_bytes != SIZE_BYTES:
            text = f"scoreboard of {size_bytes} bytes, expected {SIZE_BYTES}: another layout"
            raise ScoreboardError(text)
        board = cls(fd)
        if board.words[_MAGIC_WORD] != MAGIC or board.words[_LAYOUT_WORD] != LAYOUT_VERSION:
            text = f"scoreboard layout {board.words[_LAYOUT_WORD]}, expected {LAYOUT_VERSION}"
            raise ScoreboardError(text)
        return board

    def row(self, index: int) -> Row:
        if not 0 <= index < MAX_ROWS:
            text = f"row {index} is outside 0..{MAX_ROWS - 1}"
            raise ScoreboardError(text)
        return Row(self.words, index)

    def clear_row(self, index: int) -> None:
        """Zero a row before it is handed out. Runs in: supervisor."""
        base = HEADER_WORDS + index * ROW_WORDS
        for word in range(base, base + ROW_WORDS):
            self.words[word] = 0
        if self.words[_ROWS_IN_USE_WORD] <= index:
            self.words[_ROWS_IN_USE_WORD] = index + 1

    def column(self, field: int) -> list[int]:
        """Return one field of every row that was ever handed out, in row order.

        Returns: list[int], index = row. A strided copy in C: about 1 microsecond for 8 rows.
        """
        start = HEADER_WORDS + field
        stop = HEADER_WORDS + self.words[_ROWS_IN_USE_WORD] * ROW_WORDS
        return self.words[start:stop:ROW_WORDS].tolist()

    def close(self) -> None:
        self.words.release()
        self._map.close()
