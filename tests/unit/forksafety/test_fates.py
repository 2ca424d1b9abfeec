"""What becomes of a finding in the workers."""

from __future__ import annotations

import pytest

from tornado_multi.forksafety.fates import (
    BEGINS_ANEW,
    CUT_OFF,
    HANDLE_BEGINS_ANEW,
    OF_KINDS,
    Fate,
)
from tornado_multi.forksafety.findings import KINDS, Severity, Site, make_finding, to_plain
from tornado_multi.settings.model import QUARANTINE_KINDS


@pytest.mark.parametrize(
    ("kind", "severity", "site", "expected"),
    [
        ("connected-socket", None, None, "cut off"),
        ("epoll", None, None, "cut off"),
        ("held-lock", None, None, "healed"),
        ("random", None, None, "healed"),
        ("sqlite", None, None, "unhealed"),
        ("thread", None, None, "unhealed"),
        ("thread", Severity.HANDLED, None, "healed"),
        ("listening-socket", None, None, "shared"),
        ("connected-socket", None, Site("a.py", 1, allowed="we take turns"), "shared"),
        ("connected-socket", None, Site("a.py", 1, resource="shop.accounts"), "healed"),
    ],
)
def test_every_finding_has_a_fate(
    kind: str, severity: Severity | None, site: Site | None, expected: str
) -> None:
    """That of its kind; of the library, if that sees to it; shared, if that is allowed."""
    finding = make_finding(kind, "x", site, severity=severity)

    assert expected == to_plain(finding)["fate"]


@pytest.mark.parametrize(
    ("fate", "quarantine", "expected"),
    [
        (CUT_OFF, QUARANTINE_KINDS, "cut off"),
        (CUT_OFF, ("libraries",), "unhealed"),
        (BEGINS_ANEW, QUARANTINE_KINDS, "healed"),
        (BEGINS_ANEW, ("sockets",), "cut off"),
        (BEGINS_ANEW, ("none",), "unhealed"),
        (HANDLE_BEGINS_ANEW, ("sockets",), "unhealed"),
    ],
)
def test_a_quarantine_that_is_switched_off_heals_nothing(
    fate: Fate, quarantine: tuple[str, ...], expected: str
) -> None:
    """Without the adapters a connection is cut off like any other, and without that it is shared."""
    assert expected == fate.under(quarantine).state


def test_fates_belong_to_kinds_and_say_so_in_words() -> None:
    """A text goes on after "In each worker:", and begins with the state."""
    assert set() == set(OF_KINDS) - set(KINDS)
    assert all(fate.text.startswith(fate.state) for fate in OF_KINDS.values())
    assert all(fate.needs in {None, *QUARANTINE_KINDS} for fate in OF_KINDS.values())
