"""Replies of a provider: where they end, and what each text means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.frames import heartbeat
from tornado_multi.dubbo.telnet.replies import ReplyReader, decode_reply, parse_invoke

HEARTBEAT = heartbeat(9)
READ_ONLY = bytes.fromhex("dabba2000000000000000003000000020152")
REPLIES = [
    b"3\r\nelapsed: 0 ms.\r\ndubbo>",
    b"Use default service t.Svc.\r\n3\r\nelapsed: 12 ms.\r\ndubbo>",
    b"Use default service t.Svc.\r\nresult: 3\r\nelapsed: 0 ms.\r\ndubbo>",
    b"\r\nresult: 3\r\nelapsed: 0 ms.\r\ndubbo>",
]
SAID_TWICE = "java.lang.IllegalStateException: not\r\ndubbo>enough"


def read(data: bytes, *cuts: int, prompt: bytes = b"dubbo>") -> list[bytes]:
    reader = ReplyReader(prompt)
    found = []
    for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        reply = reader.feed(data[begin:end])
        if reply is not None:
            found.append(reply)
    assert reader.is_clean()
    return found


# --- where a reply ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("reply", REPLIES)
def test_every_form_at_every_split(reply: bytes) -> None:
    """Also one byte at a time, and with heartbeats ahead of it."""
    whole = read(reply)

    assert [reply.removesuffix(b"dubbo>")] == whole
    for cut in range(1, len(reply)):
        assert whole == read(reply, cut)
    stream = HEARTBEAT + HEARTBEAT + reply
    for cut in range(1, len(stream)):
        assert whole == read(stream, cut)
    assert whole == read(stream, *range(1, len(stream)))


def test_the_prompt_in_a_result_ends_nothing() -> None:
    """Nor does its escaped form; nor at the end of what has arrived."""
    reply = b'"dubbo> x \\r\\ndubbo>"\r\nelapsed: 0 ms.\r\ndubbo>'
    for cut in range(1, len(reply)):
        assert [reply.removesuffix(b"dubbo>")] == read(reply, cut)


def test_an_empty_reply() -> None:
    """The answer to an empty line is the prompt alone."""
    assert [b""] == read(b"dubbo>")
    assert [b""] == read(HEARTBEAT + b"dubbo>", 3, 19)


def test_any_prompt() -> None:
    """Also one that is a pattern."""
    assert [b"3\r\n"] == read(b"3\r\n[.*]+$ ", prompt=b"[.*]+$ ")


def test_heartbeats_leave_nothing_behind() -> None:
    """A thousand of them, in pieces; a connection with half a one is not clean."""
    reader = ReplyReader()
    for _ in range(1000):
        reader.feed(HEARTBEAT[:5])
        assert not reader.is_clean()
        reader.feed(HEARTBEAT[5:])
        assert reader.is_clean()

    assert 1000 == reader.heartbeats


def test_the_event_of_a_provider_that_stops() -> None:
    """The call under way is still answered."""
    reader = ReplyReader()

    assert b"3\r\nelapsed: 0 ms.\r\n" == reader.feed(READ_ONLY + REPLIES[0])
    assert reader.wants_no_more_calls


def test_frames_that_are_no_events() -> None:
    """Nobody sends those into a text connection."""
    for data in (
        bytes.fromhex("dabb02140000000000000001000000024e4e"),
        bytes.fromhex("dabbe200000000000000000100ffffff"),
    ):
        with pytest.raises(errors.BadReplyError, match="no event"):
            ReplyReader().feed(data)


def test_a_reply_beyond_the_limit() -> None:
    """Refused as soon as it is longer, not at its end."""
    reader = ReplyReader(most_reply_bytes=100)
    assert reader.feed(b"x" * 100) is None
    with pytest.raises(errors.BadReplyError, match="more than 100 bytes"):
        reader.feed(b"x")


def test_bytes_after_a_reply() -> None:
    """They belong to nobody: the reply goes on, and the connection is not clean."""
    reader = ReplyReader()

    assert reader.feed(REPLIES[0] + b"4") is None
    assert not reader.is_clean()


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", REPLIES)
def test_results(reply: bytes) -> None:
    """In each version's form."""
    assert 3 == parse_invoke(reply.decode().removesuffix("dubbo>"), "t.Svc.add")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ('"dubbo> \\r\\ndubbo>"', "dubbo> \r\ndubbo>"),
        ('{"a":[1,2.5]}', {"a": [1, 2.5]}),
        ("9007199254740993", 2**53 + 1),
        ('"result: x"', "result: x"),
        ('"你好 😀"', "你好 😀"),
    ],
)
def test_values(text: str, value: Any) -> None:
    """As JSON has them."""
    assert value == parse_invoke(f"{text}\r\nelapsed: 0 ms.\r\n", "t.Svc.m")


FAILURES: list[tuple[str, type[errors.DubboError], str]] = [
    ("Unsupported command: invoke", errors.NotAllowedError, r"3\.0\.2"),
    ("Unsupported command: pwdpwd", errors.NotAllowedError, "does not have it"),
    ("Command: invoke disabled", errors.NotAllowedError, r"protocol\.telnet="),
    (
        (
            "Command: invoke disabled for security reasons, please enable support by listing the "
            "commands through 'telnet'"
        ),
        errors.NotAllowedError,
        r"protocol\.telnet=",
    ),
    ("Foreign Ip Not Permitted.", errors.NotAllowedError, "whitelist"),
    (
        "Foreign Ip Not Permitted, Consider Config It In Whitelist.",
        errors.NotAllowedError,
        "whitelist",
    ),
    ("ls :permission deny", errors.NotAllowedError, "permission deny"),
    ("Invalid parameters, format: service.method(args)", errors.BadArgumentError, "binary"),
    (
        "Invalid json argument, cause: java.lang.NoClassDefFoundError: com/alibaba/fastjson/JSON",
        errors.RefusedError,
        "lacks the library fastjson",
    ),
    ("Invalid json argument, cause: syntax error", errors.BadArgumentError, "key class"),
    ("No such method add in service t.Svc", errors.NoSuchMethodError, "types of the arguments"),
    ("No such service t.Nope", errors.NoSuchServiceError, "ls shows"),
    ("No such service: t.Nope", errors.NoSuchServiceError, "ls shows"),
    ("Failed to find service !", errors.NoSuchServiceError, "ls shows"),
    ("Not found class t.User, cause: t.User", errors.BadArgumentError, "does not have"),
    (
        "Methods:\r\n1. over(Integer)\r\n2. over(String)\r\nPlease use the select command",
        errors.NoSuchMethodError,
        "several of that name",
    ),
    ("null", errors.NoSuchMethodError, "null argument"),
    ("Please input method name, eg: \r\ninvoke xxx", errors.NoSuchServiceError, "Name the service"),
    ("foo :no such command", errors.RefusedError, "no such command"),
    ("invoke :fail to execute commandContext by x", errors.RefusedError, "fail to execute"),
    ("something else", errors.BadReplyError, "none that is known"),
    ("{broken", errors.BadReplyError, "none that is known"),
]


@pytest.mark.parametrize(
    ("text", "kind", "said"), FAILURES, ids=[item[0][:40] for item in FAILURES]
)
@pytest.mark.parametrize("preface", ["", "Use default service t.Svc.\r\n"])
def test_every_text_of_a_failure(
    preface: str, text: str, kind: type[errors.DubboError], said: str
) -> None:
    """Its own kind of error, with what the provider said and what to do."""
    with pytest.raises(kind, match=said) as caught:
        parse_invoke(f"{preface}{text}\r\n", "t.Svc.m")

    assert kind is type(caught.value)
    assert "t.Svc.m" in str(caught.value)


def test_an_exception_of_the_method() -> None:
    """Class, message and trace, whatever the message holds."""
    text = (
        "Failed to invoke method pay, cause: java.lang.IllegalStateException: not\r\ndubbo>enough\n"
        "\tat shop.Bank.pay(Bank.java:9)\n\tat x.Y.z(Y.java:1)\r\n"
    )
    with pytest.raises(errors.RemoteError) as caught:
        parse_invoke(text, "shop.Bank.pay")

    assert ("java.lang.IllegalStateException", "not\r\ndubbo>enough") == (
        caught.value.class_name,
        caught.value.message,
    )
    assert caught.value.trace.startswith("at shop.Bank.pay(Bank.java:9)\n")


@pytest.mark.parametrize(
    ("text", "class_name", "message"),
    [
        (f"{SAID_TWICE}\n{SAID_TWICE}\n\tat a.B.c(B:1)\r\n", "", "not\r\ndubbo>enough"),
        ("java.lang.X: a\n\tat a.B.c(B:1)\r\n", "java.lang.X", "a"),
        ("java.lang.X\njava.lang.X\n\tat a.B.c(B:1)\r\n", "java.lang.X", ""),
        ("java.lang.X: a", "java.lang.X", "a"),
        (
            (
                "java.lang.reflect.InvocationTargetException\n"
                "java.lang.reflect.InvocationTargetException\n\tat a.B.c(B:1)\n"
                f"Caused by: {SAID_TWICE}\n\tat shop.Bank.pay(B:1)\n\t... 38 more\n\r\n"
            ),
            "",
            "not\r\ndubbo>enough",
        ),
        (
            "java.lang.reflect.InvocationTargetException\n\tat a.B.c(B:1)\nCaused by: a.X\n\tat b",
            "a.X",
            "",
        ),
    ],
)
def test_what_the_method_itself_has_raised(text: str, class_name: str, message: str) -> None:
    """Providers say it twice, and those of 2.7 and later cover it by that of the reflection."""
    with pytest.raises(errors.RemoteError) as caught:
        parse_invoke(f"Failed to invoke method pay, cause: {text}", "shop.Bank.pay")

    assert (class_name or "java.lang.IllegalStateException", message) == (
        caught.value.class_name,
        caught.value.message,
    )


def test_an_exception_without_a_message() -> None:
    """The class alone."""
    with pytest.raises(errors.RemoteError, match=r"java\.lang\.NullPointerException"):
        parse_invoke(
            "Failed to invoke method pay, cause: java.lang.NullPointerException\n\tat a.B.c(B:1)\r\n",
            "shop.Bank.pay",
        )


def test_a_result_that_is_no_json() -> None:
    """Never partial text as a result."""
    with pytest.raises(errors.BadReplyError, match="no JSON"):
        parse_invoke("{broken\r\nelapsed: 0 ms.\r\n", "t.Svc.m")


def test_a_result_that_names_its_own_parts() -> None:
    """A path is not what the method returned; a field of that name among others is."""
    for text in ('{"$ref":"$"}', '[{"a":[1]},{"b":{"$ref":"$[0].a"}}]'):
        with pytest.raises(errors.BadReplyError, match="Use the binary protocol"):
            parse_invoke(f"{text}\r\nelapsed: 0 ms.\r\n", "t.Svc.m")
    for text in ('{"$ref":"$","x":1}', '"{\\"$ref\\":1}"', '["$ref"]'):
        assert json.loads(text) == parse_invoke(f"{text}\r\nelapsed: 0 ms.\r\n", "t.Svc.m")


def test_a_reply_over_http() -> None:
    """Neither a prompt nor the last end of a line."""
    assert 7 == parse_invoke("Use default service t.Svc.\r\nresult: 7\r\nelapsed: 0 ms.", "t.Svc.m")


def test_charsets() -> None:
    """GBK is read as GBK; as UTF-8 it is an error with the advice, never lost characters."""
    reply = '"你好"'.encode("gbk")

    assert '"你好"' == decode_reply(reply, "gbk")
    with pytest.raises(errors.BadReplyError, match="charset='gbk'"):
        decode_reply(reply, "utf-8")


@pytest.mark.parametrize("events", [[HEARTBEAT], [READ_ONLY], [HEARTBEAT, READ_ONLY, HEARTBEAT]])
def test_events_right_after_a_reply(events: list[bytes]) -> None:
    """They come in the same read as its end, before it, in pieces, or with the next reply."""
    reply, after = REPLIES[0], b"".join(events)
    stream = reply + after + reply
    wanted = [reply.removesuffix(b"dubbo>")] * 2
    for begin in range(1, len(reply) + 1):
        assert wanted == read(stream, begin, len(reply) + len(after))
    assert wanted == read(stream, *range(1, len(stream)))
    reader = ReplyReader()

    assert wanted[0] == reader.feed(reply + after)
    assert reader.is_clean()
    assert events.count(HEARTBEAT) == reader.heartbeats
    assert (READ_ONLY in events) is reader.wants_no_more_calls


def test_a_thousand_heartbeats_are_taken_out() -> None:
    """Ahead of a reply, and after it; nothing of them is kept."""
    reader = ReplyReader()
    assert None is reader.feed(HEARTBEAT * 1000)
    assert reader.is_clean()
    assert REPLIES[0].removesuffix(b"dubbo>") == reader.feed(REPLIES[0] + HEARTBEAT * 1000)

    assert reader.is_clean()
    assert 2000 == reader.heartbeats


@pytest.mark.parametrize("said", ["a.B: x", "java.lang.reflect.InvocationTargetException"])
def test_a_message_of_a_million_empty_lines_takes_its_length_in_time(said: str) -> None:
    """Where a trace begins is looked for once per line."""
    text = f"Failed to invoke method get, cause: {said}\n at b\nCaused by: x" + "\n" * 1_000_000
    with pytest.raises(errors.RemoteError):
        parse_invoke(f"{text}b\r\n", "a.B.get")
