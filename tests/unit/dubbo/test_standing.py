"""Which provider gets the next call."""

from __future__ import annotations

import random

import pytest

from tornado_multi.dubbo.addresses import Address, parse_address
from tornado_multi.dubbo.options import Options
from tornado_multi.dubbo.standing import LONGEST_PAUSE_S, Standing, choose

ONE, TWO, THREE = (Address("127.0.0.1", port) for port in (1, 2, 3))


def chosen(standings: dict[Address, Standing], tried: set[Address], now_s: float) -> set[Address]:
    return {choose(standings, tried, now_s, lambda n=n: n / 20) for n in range(20)}  # type: ignore[misc]


def test_the_one_with_the_fewest_calls_under_way_is_chosen() -> None:
    """Chance decides between equals, and only between them."""
    standings = {ONE: Standing(active=2), TWO: Standing(active=1), THREE: Standing(active=1)}

    assert {TWO, THREE} == chosen(standings, set(), 0.0)
    assert {THREE} == chosen(standings, {TWO}, 0.0)


def test_one_that_can_not_be_reached_is_passed_over_for_a_while_that_doubles() -> None:
    """At most for three seconds; an answer ends it."""
    standing = Standing()
    now_s, pauses = 100.0, []
    for _ in range(12):
        standing.was_unreachable(now_s, "refused", lambda: 1.0)
        pauses.append(round(standing.paused_until_s - now_s, 3))
        now_s = standing.paused_until_s

    assert [0.1, 0.2, 0.4, 0.8, 1.6] == pauses[:5]
    assert {LONGEST_PAUSE_S} == set(pauses[5:])
    assert 100.0 == standing.unreachable_since_s
    standing.answered()
    assert not standing.is_paused(now_s)
    assert None is standing.unreachable_since_s


def test_calls_that_had_begun_before_a_pause_do_not_lengthen_it() -> None:
    """A hundred calls in flight fail at once when a provider dies: that is one failure."""
    standing = Standing()
    for _ in range(100):
        standing.was_unreachable(5.0, "refused", lambda: 1.0)

    assert (1, 5.1) == (standing.failures, standing.paused_until_s)


def test_three_calls_without_an_answer_in_a_row_are_a_reason_to_leave() -> None:
    """One slow method is none, and an answer in between counts."""
    standing = Standing()
    for _ in range(2):
        standing.left_in_doubt(1.0, "timeout", lambda: 1.0)
    standing.answered()
    for _ in range(2):
        standing.left_in_doubt(1.0, "timeout", lambda: 1.0)
    assert not standing.is_paused(1.0)
    standing.left_in_doubt(1.0, "timeout", lambda: 1.0)
    assert standing.is_paused(1.05)
    assert None is standing.unreachable_since_s


def test_somebody_is_always_chosen() -> None:
    """All passed over, all tried: better one of them than nobody."""
    standings = {ONE: Standing(paused_until_s=9), TWO: Standing(paused_until_s=9)}

    assert {TWO} == chosen(standings, {ONE}, 0.0)
    assert {ONE, TWO} == chosen(standings, {ONE, TWO}, 0.0)
    standings[ONE].paused_until_s = 0
    assert {ONE} == chosen(standings, {ONE}, 1.0)  # it lives; the other one does not
    assert ONE == choose({ONE: Standing()}, {ONE}, 0.0, random.random)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5", ("10.0.0.5", 20880)),
        ("10.0.0.5:1", ("10.0.0.5", 1)),
        ("dubbo://10.0.0.5:1", ("10.0.0.5", 1)),
        ("accounts.internal:20881", ("accounts.internal", 20881)),
        ("[::1]:20881", ("::1", 20881)),
        ("[::1]", ("::1", 20880)),
        ("::1", ("::1", 20880)),
        ("fe80::1%eth0", ("fe80::1%eth0", 20880)),
    ],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    """Names, numbers and IPv6 literals, with a port or without."""
    assert address == parse_address(text)
    assert parse_address(str(parse_address(text))) == address


@pytest.mark.parametrize(
    "text", ["", "a b", "host:", "host:0", "host:65536", "host:x", "tri://h:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """When the client is made, in a sentence that has the text in it."""
    with pytest.raises(ValueError, match=r"\.$"):
        parse_address(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout_s": 0}, "timeout_s is 0; it is a number of at least"),
        ({"connections": 0}, "connections is 0; it is a whole number of at least 1"),
        ({"retries": -1}, "retries is -1; it is a whole number of at least 0"),
        ({"connections": 2.5}, "connections is 2.5; it is a whole number"),
        ({"timeout_s": "5"}, "timeout_s is '5'; it is a number"),
        ({"timeout_s": None}, "timeout_s is None; it is a number"),
        ({"charset": "base64"}, "charset is 'base64'"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"idle_s": float("inf")}, "idle_s is inf"),
        ({"protocol": "http"}, "protocol is 'http'; it is one of dubbo, telnet, qos"),
        ({"charset": "klingon"}, "charset is 'klingon'"),
        ({"prompt": ""}, "prompt is empty"),
        ({"most_reply_bytes": 1 << 40}, "it is at most"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    """When the client is made, by name and value."""
    with pytest.raises(ValueError, match=said):
        Options(**options)  # type: ignore[arg-type]
