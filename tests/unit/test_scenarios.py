"""The tables of scenarios and traps name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("table", ["SCENARIOS.md", "DUBBO_TRAPS.md"])
def test_every_test_of_a_scenario_exists(table: str) -> None:
    """A test that is renamed or taken away takes its scenario along, unless somebody looks."""
    named = NAMED.findall((TESTS / table).read_text())
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (TESTS / path).is_file()
        or (name and f"\ndef {name}(" not in (TESTS / path).read_text())
    ]

    assert len(named) > 40
    assert [] == missing
