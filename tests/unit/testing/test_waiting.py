"""Waiting says what it waited for and what it saw."""

from __future__ import annotations

import pytest

from tornado_multi.testing.waiting import LAST_LINES, wait_for


def test_the_first_truthy_value_comes_back() -> None:
    """The condition is asked again until it holds."""
    answers = iter([0, None, "", 7, 8])

    assert 7 == wait_for(lambda: next(answers), every_s=0)


def test_what_is_true_needs_no_time() -> None:
    """A condition that holds is asked once, also with no time to wait."""
    assert wait_for(lambda: True, within_s=0)


def test_an_error_of_the_condition_is_not_swallowed() -> None:
    """A misspelt name in a condition is no timeout."""
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0)


def test_the_error_tells_limit_purpose_last_value_and_log() -> None:
    """All that one needs to see why it did not come."""
    log = "\n".join(f"line {number}" for number in range(100))
    with pytest.raises(AssertionError) as failed:
        wait_for(list, within_s=0, about="workers", log=lambda: log)
    lines = str(failed.value).splitlines()

    assert "not true within 0 s: workers; last seen: []" == lines[0]
    assert "line 99" == lines[-1]
    assert LAST_LINES + 2 == len(lines)
