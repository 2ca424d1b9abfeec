"""What ``reload`` says of the audit."""

from __future__ import annotations

from typing import Any

import pytest

from tornado_multi.cli.running import MOST_FINDINGS, list_findings
from tornado_multi.forksafety.findings import Site, make_finding, to_plain


def audit(count: int) -> dict[str, Any]:
    """Return an audit with so many threads, and a generator that needs no act."""
    made = [make_finding("thread", f"thread {i}", Site("/srv/shop/a.py", i)) for i in range(count)]
    made.append(make_finding("random", "random.Random", Site("/srv/shop/a.py", 99)))
    return {"findings": [to_plain(item) for item in made], "directory": "/srv"}


def test_findings_are_listed_with_their_lines() -> None:
    """One line each, without what needs no act, and where to read the rest."""
    lines = list_findings("shop:make_app", audit(2))

    assert [True, True] == [line.startswith("  error    thread ") for line in lines[:2]]
    assert [True, True] == [line.endswith(f"  shop/a.py:{i}") for i, line in enumerate(lines[:2])]
    assert ["  tornado-multi check shop:make_app says what each of them does, and the mend."] == (
        lines[2:]
    )


@pytest.mark.parametrize("nothing", [None, audit(0)])
def test_nothing_is_said_of_nothing(nothing: dict[str, Any] | None) -> None:
    """No audit, or none that has found anything."""
    assert [] == list_findings("shop:make_app", nothing)


def test_many_findings_are_counted() -> None:
    """The worst are named; a script, which check does not take, has them in its status."""
    lines = list_findings("server.py", audit(MOST_FINDINGS + 3))

    assert MOST_FINDINGS + 2 == len(lines)
    assert "  and 3 more" == lines[-2]
    assert "tornado-multi status --json" in lines[-1]
