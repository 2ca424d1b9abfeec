"""Lines to a provider: the traps of sending, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_multi.dubbo.errors import BadArgumentError
from tornado_multi.dubbo.telnet.commands import (
    QOS_BYTES,
    SERVICE_PORT_BYTES,
    encode_args,
    encode_command,
    encode_invoke,
    encode_ls,
)


def sent(*args: Any) -> str:
    return encode_invoke("t.Svc", "echo", args).decode("ascii")


def test_a_line() -> None:
    """As people type it."""
    assert b'invoke t.Svc.echo("hi",1,true,null,{"a":[1.5]})\r\n' == encode_invoke(
        "t.Svc", "echo", ["hi", 1, True, None, {"a": [1.5]}]
    )
    assert b"invoke ping()\r\n" == encode_invoke(None, "ping", [])
    assert b"ls\r\n" == encode_ls()
    assert b"ls -l t.Svc\r\n" == encode_ls("t.Svc")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text().filter(lambda k: k != "@type"), inner)
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4))
def test_any_argument_is_one_ascii_command_and_comes_back(args: list[Any]) -> None:
    """Nothing in it ends the line, the arguments or the word, or means something to the provider."""
    line = encode_invoke("t.Svc", "echo", args)
    inside = line.removeprefix(b"invoke t.Svc.echo(").removesuffix(b")\r\n")

    assert args == json.loads(b"[" + inside + b"]")
    assert all(0x20 < byte < 0x7F for byte in inside)
    for mark in (b"(", b")", b"--"):
        assert mark not in inside


@pytest.mark.parametrize(
    ("trap", "value", "expected"),
    [
        ("U+06BB is DA BB in UTF-8", "aڻb", r'"a\u06bbb"'),
        ("U+8BE8 is DA BB in GBK", "诨a", r'"\u8be8a"'),
        ("the first ) ends the arguments", "f(x)", r'"f\u0028x\u0029"'),
        ("--no-prompt is deleted", "--no-prompt", r'"\u002d\u002dno\u002dprompt"'),
        ("a space ends the line", "a b", r'"a\u0020b"'),
        ("backspace deletes", "a\bb", r'"a\bb"'),
        ("escape and NUL are deleted", "\x1b[A\0", r'"\u001b[A\u0000"'),
        ("DEL", "\x7f", r'"\u007f"'),
        ("line ends", "a\r\nb", r'"a\r\nb"'),
        ("quotes", 'a"b\\', r'"a\"b\\"'),
        ("a minus outside of strings stays", [-1, "-"], r'[-1,"\u002d"]'),
        ("an emoji is two halves", "😀", r'"\ud83d\ude00"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_traps_of_strings(trap: str, value: Any, expected: str) -> None:
    """Each is escaped, and JSON gives it back."""
    assert trap
    assert expected == encode_args([value])
    assert [value] == json.loads(f"[{expected}]")


def test_ints_are_exact_and_falsy_values_are_values() -> None:
    """Beyond 2^53, negative, zero, empty, false and null."""
    assert '9007199254740993,-9223372036854775808,0,"",false,null' == encode_args(
        [2**53 + 1, -(2**63), 0, "", False, None]
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, object(), {"a": b"x"}])
def test_what_json_has_not(value: Any) -> None:
    """Refused before anything is sent."""
    with pytest.raises(BadArgumentError, match="no form in JSON"):
        sent(value)


def test_a_circle() -> None:
    """Refused as well."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(BadArgumentError, match="no form in JSON"):
        sent(circle)


@pytest.mark.parametrize("value", [{"@type": "x"}, [[{"a": {"@type": 1}}]], ({"@type": None},)])
def test_the_key_that_creates_any_object(value: Any) -> None:
    """Wherever it is."""
    with pytest.raises(BadArgumentError, match="use class"):
        sent(value)


def test_arguments_are_not_changed() -> None:
    """The caller's object is the caller's."""
    value = {"a (b)": ["c d", ("e",)]}
    sent(value)

    assert {"a (b)": ["c d", ("e",)]} == value


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a\r\nshutdown",
        "a(b",
        'a"',
        "",
        ".a",
        "a..b",
        "1a",
        "a;b",
        "a/b/c",
        "a:b:c",
        "ä",
        "a\n",
    ],
)
def test_names_that_hold_something_else(name: str) -> None:
    """No second command, no other service."""
    with pytest.raises(BadArgumentError, match="no name of a"):
        encode_invoke(name, "echo", [])
    with pytest.raises(BadArgumentError, match="no name of a"):
        encode_invoke("t.Svc", name, [])


@pytest.mark.parametrize("name", ["Svc", "t.Svc", "t.Svc$Inner", "blue/t.Svc:1.0.0", "t.Svc:1.0"])
def test_names_of_services(name: str) -> None:
    """With group and version."""
    assert f"invoke {name}.echo()\r\n".encode() == encode_invoke(name, "echo", [])


def test_the_longest_line() -> None:
    """Of a longer one the provider would run the rest."""
    for most_bytes in (QOS_BYTES, SERVICE_PORT_BYTES):
        room = most_bytes - len(encode_invoke("t.Svc", "echo", [""]))

        assert most_bytes == len(encode_invoke("t.Svc", "echo", ["a" * room], most_bytes))
        with pytest.raises(BadArgumentError, match=f"no more than {most_bytes}"):
            encode_invoke("t.Svc", "echo", ["a" * (room + 1)], most_bytes)


def test_commands_that_change_nothing() -> None:
    """Others are not sent."""
    assert b"status -l\r\n" == encode_command("status -l")
    for command in (
        "shutdown",
        "cd x",
        "select 1",
        "log error",
        "trace x",
        "ls\r\nshutdown",
        "clear",
    ):
        with pytest.raises(BadArgumentError, match="not sent"):
            encode_command(command)
