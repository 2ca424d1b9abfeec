"""Findings: words, order, texts."""

from __future__ import annotations

from tornado_multi.forksafety.findings import (
    KINDS,
    Severity,
    Site,
    in_order,
    make_finding,
    one_line,
    render,
    summary,
    to_plain,
)
from tornado_multi.settings.allowances import FINDING_KINDS


def test_every_kind_says_harm_and_mend_in_sentences() -> None:
    """What is shown to people can be read by them."""
    for kind in KINDS.values():
        assert kind.harm.endswith(".")
        assert kind.harm[0].isupper()
        assert kind.mend.endswith(".")


def test_five_severities_are_three_words() -> None:
    """Critical and high are errors, medium a warning, the rest is for information."""
    assert ["error", "error", "warning", "info", "info"] == [item.word for item in Severity]


def test_what_is_declared_safe_is_information_with_its_reason() -> None:
    """A fork_safe block makes an error an info, and the reason is shown in place of the harm."""
    site = Site("/srv/shop/a.py", 3, allowed="only whole datagrams")
    finding = make_finding("connected-socket", "connected socket a -> b", site)

    assert ("info", "only whole datagrams") == (finding.word, finding.allowed)
    assert "Allowed: only whole datagrams" in render(to_plain(finding))
    assert "Mend" not in render(to_plain(finding))


def test_what_a_resource_has_opened_at_import_is_handled() -> None:
    """A per-process resource that was used at import harms nobody: each worker makes its own."""
    site = Site("/srv/shop/a.py", 3, resource="shop.accounts")
    finding = make_finding("connected-socket", "connected socket a -> b", site)

    assert "info" == finding.word
    assert "shop.accounts" in finding.harm


def test_the_worst_comes_first_and_then_the_order_of_lines() -> None:
    """Severity, then file and line; findings without a line come last."""
    made = [
        make_finding("pipe", "d", Site("a.py", 1)),
        make_finding("thread", "c"),
        make_finding("thread", "b", Site("a.py", 10)),
        make_finding("thread", "a", Site("a.py", 9)),
    ]

    assert ["a", "b", "c", "d"] == [finding.what for finding in in_order(made)]


def test_a_finding_is_printed_with_its_line_at_the_end() -> None:
    """The first line names it and where it was made, relative to the app; then the rest."""
    site = Site("/srv/shop/a.py", 3, via="requests/sessions.py")
    lines = render(to_plain(make_finding("thread", "thread t", site)), "/srv").splitlines()

    assert lines[0].startswith("error    thread t (through requests/sessions.py)  ")
    assert lines[0].endswith("  shop/a.py:3")
    assert ["It will not exist in the workers."] == [lines[1].strip()]
    assert ["In each worker: nothing can be done; mend it."] == [lines[2].strip()]
    assert lines[3].strip().startswith("Mend: start it in after_fork")
    assert ["Kind: thread"] == [lines[4].strip()]


def test_a_finding_in_the_log_is_one_line() -> None:
    """Harm, place and mend without a line break."""
    text = one_line(to_plain(make_finding("thread", "thread t", Site("/srv/a.py", 3))), "/srv")

    assert "\n" not in text
    assert "thread t, made at a.py:3. It will not exist" in text
    assert "In each worker: nothing can be done; mend it. Mend: " in text


def test_what_needs_no_act_is_told_in_short() -> None:
    """Neither its kind nor its fate: there is nothing to allow, and the text says it is handled."""
    lines = render(to_plain(make_finding("random", "random.Random"))).splitlines()

    assert 2 == len(lines)


def test_the_settings_know_every_kind() -> None:
    """An entry of fork_safety_allow may name what the audit tells apart, and nothing else."""
    assert sorted(KINDS) == sorted(FINDING_KINDS)


def test_the_summary_counts() -> None:
    """Clean, or how many of which."""
    assert "clean" == summary(0, 0)
    assert "1 error" == summary(1, 0)
    assert "2 errors, 1 warning" == summary(2, 1)
