"""What the supervisor prints."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime
from typing import Any

import pytest

from tornado_multi.supervisor.events import Say
from tornado_multi.supervisor.report import Reporter


def text_reporter() -> tuple[Reporter, io.StringIO, io.StringIO]:
    log, block = io.StringIO(), io.StringIO()
    return Reporter("text", log, block), log, block


def json_reporter() -> tuple[Reporter, io.StringIO, io.StringIO]:
    log, block = io.StringIO(), io.StringIO()
    return Reporter("json", log, block), log, block


def only_record(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("info", "worker fork_id=0 gen=1 pid=9: Ready after 12 ms."),
        ("warning", "worker fork_id=0 gen=1 pid=9: warning: Ready after 12 ms."),
        ("error", "worker fork_id=0 gen=1 pid=9: error: Ready after 12 ms."),
    ],
)
def test_a_line_begins_with_the_time_and_who_speaks(level: Any, expected: str) -> None:
    """Time, who, the level if it isn't plain information, one sentence."""
    reporter, log, block = text_reporter()
    reporter.say(Say(level, "worker fork_id=0 gen=1 pid=9", "Ready after 12 ms."))
    stamp, rest = log.getvalue()[:19], log.getvalue()[20:]

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stamp)
    assert f"{expected}\n" == rest
    assert "" == block.getvalue()


def test_a_json_line_has_the_same_values_for_machines() -> None:
    """One object per line: time with its zone, level, who, text, and the values by name."""
    reporter, log, _ = json_reporter()
    reporter.say(Say("error", "supervisor", "Two\nlines, é.", {"retry_in_s": 1.0}))
    record = only_record(log)
    time = datetime.fromisoformat(record.pop("time"))

    assert time.tzinfo is not None
    assert {
        "level": "error",
        "who": "supervisor",
        "text": "Two\nlines, é.",
        "retry_in_s": 1.0,
    } == record


def test_the_startup_block_goes_to_its_own_stream() -> None:
    """Text for people: the lines as they are, on standard output."""
    reporter, log, block = text_reporter()
    reporter.block(["  app  shop", "  workers  4"], "Ready.", {"workers": 4})

    assert "  app  shop\n  workers  4\n" == block.getvalue()
    assert "" == log.getvalue()


def test_the_startup_block_is_one_json_line() -> None:
    """Machines get the same facts in the log, and nothing beside it."""
    reporter, log, block = json_reporter()
    reporter.block(["  app  shop"], "Ready.", {"workers": 4})
    record = only_record(log)

    assert ("Ready.", 4) == (record["text"], record["workers"])
    assert "" == block.getvalue()


def test_a_failure_ends_with_the_traceback() -> None:
    """Reason first, traceback last, as Python does, and no blank line for a missing one."""
    reporter, log, _ = text_reporter()
    reporter.failure("It failed.", "Traceback\n  line\n")
    reporter.failure("It failed too.", "")

    assert "It failed.\nTraceback\n  line\nIt failed too.\n" == log.getvalue()


def test_a_failure_as_json_keeps_the_traceback_apart() -> None:
    """The traceback is a value of its own."""
    reporter, log, _ = json_reporter()
    reporter.failure("It failed.", "Traceback")
    record = only_record(log)

    assert ("error", "It failed.", "Traceback") == (
        record["level"],
        record["text"],
        record["detail"],
    )


def test_a_failure_as_json_has_the_death_that_is_to_blame() -> None:
    """Under the same key as other deaths; text has it in the reason."""
    reporter, log, _ = json_reporter()
    reporter.failure("It failed.", "", {"pid": 5})

    assert {"pid": 5} == only_record(log)["death"]


def test_the_standard_streams_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Log lines on standard error, the block on standard output."""
    reporter = Reporter("text")
    reporter.say(Say("info", "supervisor", "Said."))
    reporter.block(["Shown."], "", {})
    seen = capsys.readouterr()

    assert seen.err.endswith(" supervisor: Said.\n")
    assert "Shown.\n" == seen.out


class BrokenStream(io.StringIO):
    """A full disk, a pipe whose reader left, a closed file, an encoding that is too small."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _text: str) -> int:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        BrokenPipeError(),
        ValueError("I/O operation on closed file"),
        UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_failed_write_never_disturbs_the_supervisor(form: Any, error: Exception) -> None:
    """What can't be written is lost; the service goes on."""
    stream = BrokenStream(error)
    reporter = Reporter(form, stream, stream)
    reporter.say(Say("info", "supervisor", "é"))
    reporter.block(["é"], "", {})
    reporter.failure("é", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_odd_character_costs_no_line(form: Any) -> None:
    """An undecodable byte of a path or an argument (a lone surrogate) still gives a line."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace")
    Reporter(form, stream).say(Say("info", "supervisor", "path \udcff"))

    assert b"path" in raw.getvalue()
