"""The reference page of all options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tornado_multi.settings.model import GROUPS, TABLES, options_of
from tornado_multi.settings.reference import render_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "options.md"


def rows() -> dict[str, list[str]]:
    """Return the cells of each option's row, by flag."""
    lines = [line for line in render_reference().splitlines() if line.startswith("| `--")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): row for row in cells}


def test_the_page_is_up_to_date() -> None:
    """The page in docs/ is what the settings' classes say; ``make docs`` writes it."""
    assert render_reference() == PAGE.read_text(encoding="utf-8")


def test_every_option_has_one_row() -> None:
    """Nothing is left out, nothing stands twice."""
    count = sum(len(options_of(group)) for group in GROUPS.values())

    assert count == len(rows())
    assert count == render_reference().count("| `--")


@pytest.mark.parametrize(
    ("flag", "variable", "key", "default", "allowed"),
    [
        (
            "--bind",
            "`TORNADO_MULTI_BIND`",
            "`bind`",
            "`127.0.0.1:8888`",
            "list of texts",
        ),
        ("--backlog", "`TORNADO_MULTI_BACKLOG`", "`backlog`", "`2048`", "whole number, 1..65535"),
        (
            "--max-connections",
            "`TORNADO_MULTI_MAX_CONNECTIONS`",
            "`max_connections`",
            "-",
            "whole number, at least 1",
        ),
        ("--loop", "`TORNADO_MULTI_LOOP`", "`loop`", "`uvloop`", "`uvloop`, `asyncio`"),
        ("--xheaders", "`TORNADO_MULTI_XHEADERS`", "`xheaders`", "`false`", "`true`, `false`"),
        (
            "--trusted-downstream",
            "`TORNADO_MULTI_TRUSTED_DOWNSTREAM`",
            "`trusted_downstream`",
            "-",
            "list of texts",
        ),
        (
            "--http.body-timeout-s",
            "`TORNADO_MULTI_HTTP_BODY_TIMEOUT_S`",
            "`http.body_timeout_s`",
            "-",
            "number, at least 0.1",
        ),
    ],
)
def test_a_row_says_all_of_an_option(
    flag: str, variable: str, key: str, default: str, allowed: str
) -> None:
    """How it is spelled in each source, its default, what is allowed, what it means."""
    row = rows()[flag]

    assert [f"`{flag}`", variable, key, default, allowed] == row[:5]
    assert row[5].endswith(".")


def test_every_group_has_its_table() -> None:
    """A heading and a table per group, in the order of the settings."""
    headings = [line for line in render_reference().splitlines() if line.startswith("## ")]

    assert len(GROUPS) == len(headings)
    assert "## Listening" == headings[0]


def test_a_bar_in_a_help_text_does_not_break_the_table() -> None:
    """Each row has six cells."""
    assert {6} == {len(row) for row in rows().values()}


def test_keys_of_tables_carry_their_table() -> None:
    """``[http]`` in the file is ``http.`` here."""
    for name in TABLES:
        for item, _ in options_of(GROUPS[name]):
            assert f"--{name}.{item.name.replace('_', '-')}" in rows()
