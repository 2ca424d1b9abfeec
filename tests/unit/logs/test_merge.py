"""Lines to records, and which of them are wanted."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tornado_multi.logs.formats import JsonFormatter, TextFormatter
from tornado_multi.logs.merge import (
    Entry,
    Filters,
    Reader,
    fork_id_in_name,
    level_of,
    parse_level,
    parse_since,
)

STAMP = "2026-11-25 10:00:00.123000+00:00"
AT_S = datetime(2026, 11, 25, 10, 0, 0, 123000, tzinfo=UTC).timestamp()


def read(*lines: str, fork_id: int | None = None) -> list[Entry]:
    reader = Reader(fork_id)
    return [*reader.feed(lines), *reader.flush()]


def test_a_text_record_is_read_with_its_further_lines() -> None:
    """A traceback belongs to its record, blank lines in it too."""
    lines = (
        f"{STAMP} ERROR    worker fork_id=3 gen=2 pid=81 req=7: shop: failed",
        "    Traceback (most recent call last):",
        "",
        "    ValueError: x",
        "2026-11-25 10:00:01.000000+00:00 INFO     zygote gen=2 pid=80: shop: next",
    )

    assert [
        Entry(AT_S, logging.ERROR, 3, "\n".join(lines[:4])),
        Entry(AT_S + 0.877, logging.INFO, None, lines[4]),
    ] == read(*lines)


def test_a_json_record_is_a_line() -> None:
    """With the keys that matter here."""
    line = (
        '{"time": "2026-11-25T11:00:00.123+01:00", "level": "warning", "fork_id": 2, "text": "x"}'
    )

    assert [Entry(AT_S, logging.WARNING, 2, line)] == read(line)


def test_lines_of_another_form_are_kept() -> None:
    """An app's own format has no time that we know: it stays where it stood in its file."""
    lines = ("plain", f"{STAMP} INFO     pid=1: a: b", "[I 2026] tornado's", "{no json", '{"a": 1}')

    found = read(*lines, fork_id=4)

    assert [0.0, AT_S, AT_S, AT_S, AT_S] == [entry.time_s for entry in found]
    assert list(lines) == [entry.text for entry in found]
    assert [4] * 5 == [entry.fork_id for entry in found]


def test_what_a_cut_write_has_left_is_not_shown() -> None:
    """It was covered with blanks."""
    line = f"{STAMP} INFO     pid=1: a: b"

    assert [line, line] == [entry.text for entry in read("     ", line, "       ", line)]


def test_the_last_record_waits_for_its_further_lines() -> None:
    """Until it is known that none comes."""
    reader = Reader()
    first = f"{STAMP} INFO     pid=1: a: b"

    assert [] == list(reader.feed([first]))
    assert [] == list(reader.feed(["    more"]))
    assert [f"{first}\n    more"] == [entry.text for entry in reader.feed([first])]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_we_write_is_what_we_read(formatter: logging.Formatter) -> None:
    """Time, level, text with several lines; whatever the level is called."""
    record = logging.LogRecord("shop", 25, "f", 1, "a\n\nb %s", ("c",), None)
    record.created = int(AT_S) + 0.5  # what has no exact binary form is cut to microseconds
    text = formatter.format(record)

    assert [Entry(record.created, 25, None, text)] == read(*text.split("\n"))


def entry(
    level: int = 20, fork_id: int | None = 1, text: str = "a cart", at_s: float = 100
) -> Entry:
    return Entry(at_s, level, fork_id, text)


@pytest.mark.parametrize(
    ("filters", "accepted"),
    [
        (Filters(), True),
        (Filters(frozenset({1, 2})), True),
        (Filters(frozenset({2})), False),
        (Filters(level=20), True),
        (Filters(level=30), False),
        (Filters(since_s=100), True),
        (Filters(since_s=100.5), False),
        (Filters(text="cart"), True),
        (Filters(text="Cart"), False),
    ],
)
def test_filters(filters: Filters, accepted: bool) -> None:  # noqa: FBT001 - a table
    """Each leaves out what was not asked for."""
    assert accepted is filters.accept(entry())


def test_what_has_no_level_is_never_too_low() -> None:
    """An app's own format may hold an error that we can't see."""
    assert Filters(level=40).accept(entry(level=0))


@pytest.mark.parametrize(
    ("name", "number"),
    [("INFO", 20), ("error", 40), ("LEVEL25", 25), ("Level 7", 7), ("WARN", 30), ("odd", 0)],
)
def test_levels_by_name(name: str, number: int) -> None:
    """Python's, and those without a name."""
    assert number == level_of(name)


@pytest.mark.parametrize(
    ("name", "fork_id"),
    [
        ("shop.3.log", 3),
        ("shop.12.log.4", 12),
        ("shop.zygote.log", None),
        ("shop.log", None),
        ("shop.log.3", None),
    ],
)
def test_the_fork_id_in_a_name(name: str, fork_id: int | None) -> None:
    """For records that don't say it themselves."""
    assert fork_id == fork_id_in_name(name)


NOW = datetime(2026, 11, 25, 10, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("1.5h", 5400), ("2d", 172800), ("30s", 30), ("2026-11-25T08:30:00Z", 1800)],
)
def test_since(text: str, seconds: float) -> None:
    """A time ago, or a moment."""
    assert NOW.timestamp() - seconds == parse_since(text, NOW)


def test_a_moment_without_offset_is_local() -> None:
    """As people read it in the log."""
    wanted = datetime(2026, 11, 25, 8, 30).astimezone().timestamp()

    assert wanted == parse_since("2026-11-25 08:30", NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("today", "2026-11-25 00:00"),
        ("yesterday", "2026-11-24 00:00"),
        ("08:30", "2026-11-25 08:30"),
        ("08:30:59", "2026-11-25 08:30:59"),
    ],
)
def test_a_day_or_a_time_of_today_is_local(text: str, moment: str) -> None:
    """As people say it."""
    noon = datetime.fromisoformat("2026-11-25 12:00").astimezone()

    assert datetime.fromisoformat(moment).timestamp() == parse_since(text, noon)


@pytest.mark.parametrize(
    ("text", "level"), [("warn", 30), ("WARNING", 30), ("debug", 10), ("fatal", 50)]
)
def test_a_level_that_is_typed(text: str, level: int) -> None:
    """In the words of the module logging, capital or not."""
    assert level == parse_level(text)


@pytest.mark.parametrize("text", ["", "loud", "level15"])
def test_a_level_that_there_is_not_is_refused(text: str) -> None:
    """With the list of those that there are."""
    with pytest.raises(ValueError, match=r"^level=.*: must be one of debug, info, warning, error,"):
        parse_level(text)


@pytest.mark.parametrize("text", ["", "10", "m", "tomorrow", "10 m", "-5m", "99:00"])
def test_a_since_that_means_nothing_is_refused(text: str) -> None:
    """The sentence shows both forms."""
    with pytest.raises(ValueError, match=r"^since=.*: must be a time ago such as 10m.*a moment"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["9999999d", "99999999999d"])
def test_a_since_before_all_time_is_refused(text: str) -> None:
    """With the sentence that says what there is."""
    with pytest.raises(ValueError, match=f"since={text}: must be a time ago"):
        parse_since(text, datetime(2026, 11, 25, tzinfo=UTC))


@pytest.mark.parametrize(
    "line",
    [
        "2026-99-25 10:00:00.123000+00:00 INFO     a month that there is not",
        "2026-11-25 10:00:00.123000+99:99 INFO     an offset that there is not",
        f"{STAMP} LEVEL{'9' * 5000} a level that no number holds",
        f"{STAMP} INFO     worker fork_id={'9' * 5000} gen=1 pid=1: a worker that there is not",
        '{"time": "2026-11-25T10:00:00", "level": "level' + "9" * 5000 + '"}',
        '{"time": "0001-01-01T00:00:00+23:59"}',
        '{"a":' * 100_000,
    ],
)
def test_what_only_looks_like_a_record_is_kept_as_it_is(line: str) -> None:
    """As lines of another form are."""
    assert [(line, 0)] == [(entry.text, entry.level) for entry in read(line)]
