"""What the user allows: blocks with a reason, entries of the settings."""

from __future__ import annotations

import re

import pytest

from tornado_multi.forksafety.findings import Finding, Site, make_finding
from tornado_multi.forksafety.suppression import (
    apply_allowances,
    current_reason,
    fork_safe,
    parse_allowance,
    say_unused,
)


def finding() -> Finding:
    return make_finding("thread", 'thread "poll"', Site("/srv/shop/settings.py", 31))


def test_a_block_has_its_reason_and_gives_it_back() -> None:
    """Blocks may be nested, and an error in one does not leave its reason behind."""
    reasons = []
    with fork_safe("outer"):
        try:
            with fork_safe("inner"):
                reasons.append(current_reason())
                raise ZeroDivisionError
        except ZeroDivisionError:
            reasons.append(current_reason())
    reasons.append(current_reason())

    assert ["inner", "outer", None] == reasons


def test_a_block_without_a_reason_is_refused() -> None:
    """Whoever reads the audit wants to know why."""
    with pytest.raises(ValueError, match="needs a reason"), fork_safe(" "):
        pass


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("shop/settings.py:31", True),
        ("shop/settings.py", True),
        ("settings.py:31", True),
        ("/srv/shop/settings.py:31", True),
        ("shop/*.py:31", True),
        ("thread", True),
        ('thread:thread "poll"', True),
        ("thread:*poll*", True),
        ("shop/settings.py:32", False),
        ("ttings.py:31", False),
        ("held-lock", False),
    ],
)
def test_an_allowance_names_a_line_a_file_or_a_kind(pattern: str, covers: bool) -> None:  # noqa: FBT001
    """The first word is matched against the place, the file, and the kind."""
    allowance = parse_allowance(f"{pattern.replace(' ', '?')} it ends by itself")

    assert covers == allowance.covers(finding())


def test_allowed_findings_keep_their_reason_and_unused_entries_come_back() -> None:
    """Nothing is silently ignored in either direction."""
    used, unused = parse_allowance("thread it ends"), parse_allowance("nothing.py old story")
    assert "no finding matches 'nothing.py'. Remove the entry" in say_unused(unused)
    judged, left = apply_allowances([finding(), finding()], [used, unused])

    assert ["it ends", "it ends"] == [item.allowed for item in judged]
    assert [unused] == left


def test_an_entry_without_a_reason_is_refused() -> None:
    """The settings demand one as the block does."""
    with pytest.raises(ValueError, match="and the reason"):
        parse_allowance("shop/settings.py:31")


@pytest.mark.parametrize(
    "pattern",
    ["thread", "thread:*poll*", "*-socket", "shop.py", "shop/views", "*/manage", "manage:31"],
)
def test_an_entry_may_name_a_kind_or_any_file(pattern: str) -> None:
    """What has a dot, a slash, a wildcard or a line is no misspelt kind."""
    assert pattern == parse_allowance(f"{pattern} for a reason").pattern


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("sqlight", "'sqlight' is no kind of finding. Did you mean sqlite?"),
        ("thred:*poll*", "Did you mean thread?"),
        ("zzz", "The kinds are child-process, connected-socket, "),
        ("manage", "A file whose name has no dot is written */manage."),
    ],
)
def test_an_unknown_kind_is_refused(pattern: str, said: str) -> None:
    """It would allow nothing, and look like an entry that is no longer needed."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_allowance(f"{pattern} for a reason")
