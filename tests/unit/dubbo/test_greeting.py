"""How a prompt is learned before the first command."""

from __future__ import annotations

import pytest

from tornado_multi.dubbo.errors import BadReplyError
from tornado_multi.dubbo.frames import heartbeat
from tornado_multi.dubbo.telnet.greeting import Greeting


def sent(greeting: Greeting) -> Greeting:
    assert greeting.wants_line
    greeting.line_sent()
    assert not greeting.wants_line
    return greeting


@pytest.mark.parametrize("cut", range(1, 6))
def test_the_usual_prompt_is_known_at_sight(cut: int) -> None:
    """Wherever it was split, and with a heartbeat ahead of it."""
    greeting = sent(Greeting())
    greeting.feed(heartbeat(1) + b"dubbo>"[:cut])
    assert None is greeting.prompt
    greeting.feed(b"dubbo>"[cut:])

    assert b"dubbo>" == greeting.prompt


def test_another_prompt_is_what_comes_twice() -> None:
    """Also one of characters that mean something in patterns."""
    greeting = sent(Greeting())
    greeting.feed(b"[ac")
    greeting.feed(b"count]$ ")
    assert greeting.quiet_s
    greeting.was_quiet()
    assert None is greeting.prompt
    sent(greeting)
    greeting.feed(b"[account]$ ")
    greeting.was_quiet()

    assert b"[account]$ " == greeting.prompt
    assert not greeting.wants_line


def test_two_different_answers_are_no_prompt() -> None:
    """Such as the first lines of some other protocol."""
    greeting = sent(Greeting())
    greeting.feed(b"220 ready")
    greeting.was_quiet()
    sent(greeting)
    greeting.feed(b"500 what?")

    with pytest.raises(BadReplyError, match="b'220 ready' and b'500 what\\?'"):
        greeting.was_quiet()


def test_a_prompt_that_was_given_must_come() -> None:
    """The message shows what came in its place."""
    right, wrong = sent(Greeting(b"shop>")), sent(Greeting(b"shop>"))
    right.feed(b"shop>")
    wrong.feed(b"dubbo>")

    assert b"shop>" == right.prompt
    with pytest.raises(BadReplyError, match=r"is b'dubbo>', not b'shop>'"):
        wrong.was_quiet()


def test_the_banner_of_qos_is_waited_for() -> None:
    """It comes half a second after the connection whatever is asked, and is no reply."""
    greeting = Greeting(has_banner=True)
    assert not greeting.wants_line
    greeting.feed(b"   ___   __\n dubbo> ")
    assert None is greeting.prompt
    greeting.feed(b"\ndubbo>")

    assert b"dubbo>" == greeting.prompt


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers in HTTP"),
        (b"\r\nForeign Ip Not Permitted.\r\n", "whitelist"),
        (b"x" * 20_000, "More than 16384 bytes"),
        (bytes.fromhex("dabb0214000000000000000100000012"), "no event"),
    ],
)
def test_what_can_be_no_prompt(said: bytes, explained: str) -> None:
    """It is told apart at once, not when time is over."""
    with pytest.raises(BadReplyError, match=explained):
        sent(Greeting()).feed(said)


def test_silence_is_explained() -> None:
    """A provider may have an empty prompt, and then no end of a reply can be known."""
    greeting = sent(Greeting())
    assert "prompt may be empty" in greeting.explain()
    greeting.feed(b"hm")
    assert "b'hm'" in greeting.explain()
