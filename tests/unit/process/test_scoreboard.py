"""The scoreboard: shared memory with one row per worker process."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tornado_multi.process import scoreboard as sb
from tornado_multi.process.scoreboard import (
    HEADER_WORDS,
    LAYOUT_VERSION,
    MAX_ROWS,
    ROW_WORDS,
    SIZE_BYTES,
    WORD_BYTES,
    RowState,
    Scoreboard,
    ScoreboardError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = [
    sb.LAYOUT,
    sb.PID,
    sb.FORK_ID,
    sb.GENERATION,
    sb.STATE,
    sb.BEAT_NS,
    sb.REQUESTS,
    sb.IN_FLIGHT,
    sb.CONNECTIONS,
    sb.LAG_NS,
    sb.ROUTE_ID,
    sb.CPU_NS,
    sb.PSS_BYTES,
    sb.RSS_BYTES,
    sb.STARTED_NS,
]
WRITE = """
import sys
from tornado_multi.process import scoreboard as sb
row = sb.Scoreboard.attach(int(sys.argv[1])).row(7)
row.store(sb.PID, 81)
row.add(sb.REQUESTS, 2)
"""


@pytest.fixture
def made() -> Iterator[tuple[Scoreboard, int]]:
    board, fd = Scoreboard.create()
    yield board, fd
    board.close()
    os.close(fd)


@pytest.fixture
def board(made: tuple[Scoreboard, int]) -> Scoreboard:
    return made[0]


def test_the_layout_holds_what_every_version_relies_on() -> None:
    """The first seven fields are what a supervisor of another version reads."""
    assert list(range(7)) == [
        sb.LAYOUT,
        sb.PID,
        sb.FORK_ID,
        sb.GENERATION,
        sb.STATE,
        sb.BEAT_NS,
        sb.REQUESTS,
    ]
    assert 1 == LAYOUT_VERSION


def test_fields_have_words_of_their_own() -> None:
    """No two fields share a word, and all fit into a row."""
    assert len(FIELDS) == len(set(FIELDS))
    assert max(FIELDS) < ROW_WORDS


def test_rows_share_no_cache_line() -> None:
    """Workers write at every request; a shared line would be fought over."""
    assert 0 == ROW_WORDS * WORD_BYTES % 64
    assert 0 == HEADER_WORDS * WORD_BYTES % mmap.PAGESIZE


def test_a_new_board_is_empty(board: Scoreboard) -> None:
    """Rows that nobody was given don't count."""
    assert [] == board.column(sb.STATE)
    assert RowState.FREE == board.row(0).load(sb.STATE)
    assert 0 == board.row(MAX_ROWS - 1).load(sb.STARTED_NS)


def test_untouched_rows_cost_no_memory(made: tuple[Scoreboard, int]) -> None:
    """The board is sized once for the most workers ever; the file is sparse."""
    board, fd = made
    board.clear_row(3)
    board.row(3).store(sb.PID, 1)

    assert SIZE_BYTES == os.fstat(fd).st_size
    assert os.fstat(fd).st_blocks * 512 <= 4 * mmap.PAGESIZE


def test_the_descriptor_is_closed_on_exec(made: tuple[Scoreboard, int]) -> None:
    """Only the zygote gets it, by name."""
    assert not os.get_inheritable(made[1])


def test_every_field_of_every_row_is_its_own(board: Scoreboard) -> None:
    """What is stored is loaded again, and nothing else has changed."""
    rows = [0, 1, 2, MAX_ROWS - 1]
    for index in rows:
        for field in FIELDS:
            board.row(index).store(field, index * 1000 + field)

    assert [index * 1000 + field for index in rows for field in FIELDS] == [
        board.row(index).load(field) for index in rows for field in FIELDS
    ]
    assert LAYOUT_VERSION == board.words[1]


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_a_word_holds_64_signed_bits(board: Scoreboard, value: int) -> None:
    """Nanoseconds of a monotonic clock fit for 292 years."""
    board.row(1).store(sb.BEAT_NS, value)

    assert value == board.row(1).load(sb.BEAT_NS)


def test_add_counts_up_and_down(board: Scoreboard) -> None:
    """A counter and a gauge are the same word."""
    row = board.row(1)
    row.add(sb.IN_FLIGHT, 2)
    row.add(sb.IN_FLIGHT, -1)

    assert 1 == row.load(sb.IN_FLIGHT)


def test_a_row_can_be_written_through_its_base(board: Scoreboard) -> None:
    """The hot path adds a field's constant to ``base``: the same words."""
    row = board.row(5)
    row.words[row.base + sb.REQUESTS] += 3

    assert 3 == board.row(5).load(sb.REQUESTS)


@pytest.mark.parametrize("index", [-1, MAX_ROWS, MAX_ROWS + 1])
def test_there_is_no_row_outside_the_board(board: Scoreboard, index: int) -> None:
    """A wrong number is an error, not somebody else's row or the header."""
    with pytest.raises(ScoreboardError, match=f"row {index} is outside 0..{MAX_ROWS - 1}"):
        board.row(index)


def test_a_row_is_zeroed_before_it_is_handed_out(board: Scoreboard) -> None:
    """The next worker of a row inherits nothing, and its neighbours lose nothing."""
    for index in (3, 4, 5):
        board.clear_row(index)
        for word in range(ROW_WORDS):
            board.row(index).store(word, 7)
    board.clear_row(4)

    assert [0] * ROW_WORDS == [board.row(4).load(word) for word in range(ROW_WORDS)]
    assert [[7] * ROW_WORDS] * 2 == [
        [board.row(index).load(word) for word in range(ROW_WORDS)] for index in (3, 5)
    ]


def test_a_column_has_one_value_per_row_ever_handed_out(board: Scoreboard) -> None:
    """Index is the row; rows between that nobody holds read 0; it never shrinks."""
    board.clear_row(0)
    board.clear_row(3)
    for index in (0, 3):
        for field in FIELDS:
            board.row(index).store(field, 100 * index + field)
    for field in FIELDS:
        assert [field, 0, 0, 300 + field] == board.column(field)
    board.clear_row(1)

    assert 4 == len(board.column(sb.PID))


def test_a_full_board_has_full_columns(board: Scoreboard) -> None:
    """The last row is in its column."""
    board.clear_row(MAX_ROWS - 1)
    board.row(MAX_ROWS - 1).store(sb.PID, 9)
    column = board.column(sb.PID)

    assert MAX_ROWS == len(column)
    assert 9 == column[-1]


def test_another_process_writes_into_the_same_memory(made: tuple[Scoreboard, int]) -> None:
    """That is what it is for."""
    board, fd = made
    board.clear_row(7)
    board.row(7).store(sb.REQUESTS, 40)
    subprocess.run([sys.executable, "-c", WRITE, str(fd)], pass_fds=[fd], check=True)

    assert (81, 42) == (board.row(7).load(sb.PID), board.row(7).load(sb.REQUESTS))


@pytest.mark.parametrize("word", [0, 1], ids=["magic", "layout"])
def test_another_layout_is_refused(made: tuple[Scoreboard, int], word: int) -> None:
    """A zygote of another version must not write into rows that it reads differently."""
    board, fd = made
    board.words[word] += 1

    with pytest.raises(ScoreboardError, match="layout"):
        Scoreboard.attach(fd)


def test_memory_that_is_too_small_is_refused() -> None:
    """Another size is another layout."""
    fd = os.memfd_create("small")
    os.ftruncate(fd, SIZE_BYTES // 2)

    with pytest.raises(ScoreboardError, match="layout"):
        Scoreboard.attach(fd)

    os.close(fd)


def test_row_states_are_a_contract() -> None:
    """Workers of the last version write these numbers while they drain."""
    assert [("FREE", 0), ("STARTING", 1), ("READY", 2), ("DRAINING", 3)] == [
        (state.name, state.value) for state in RowState
    ]
