"""A stream whose reader may stop reading."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from tornado_multi.supervisor import patient
from tornado_multi.supervisor.patient import PatientStream

if TYPE_CHECKING:
    import pytest


def test_texts_arrive_whole_and_in_order() -> None:
    """Closing waits for what is left."""
    target = io.StringIO()
    stream = PatientStream(target)
    for number in range(1000):
        stream.write(f"{number}\n")
    stream.close()

    assert [str(number) for number in range(1000)] == target.getvalue().split()


def test_a_full_pipe_blocks_nobody_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond MOST_WAITING lines are dropped; when the reader reads again, it is told how many."""
    monkeypatch.setattr(patient, "MOST_WAITING", 10)
    monkeypatch.setattr(patient, "CLOSE_WAIT_S", 10.0)
    read_fd, write_fd = os.pipe()
    with open(write_fd, "w", encoding="utf-8") as target:
        stream = PatientStream(target)
        for _ in range(100):
            stream.write("x" * 65536 + "\n")
        with open(read_fd, encoding="utf-8") as reader:
            lines = [reader.readline()]
            while stream._waiting:  # room for another text again
                lines.append(reader.readline())
            stream.write("the last\n")
            while lines[-1] != "the last\n":
                lines.append(reader.readline())
            stream.close()

    assert "x" * 65536 + "\n" == lines[0]
    assert "lines were dropped here" in lines[-2]
    assert len(lines) < 20


def test_a_stream_that_fails_is_given_up_line_by_line() -> None:
    """A closed file raises; the thread goes on to the next text."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            if text == "bad\n":
                raise OSError
            return super().write(text)

    target = Broken()
    stream = PatientStream(target)
    for text in ("bad\n", "good\n"):
        stream.write(text)
    stream.close()

    assert "good\n" == target.getvalue()
