"""Replies to ls and status, in the form of each version."""

from __future__ import annotations

import pytest
from support import captures
from support.account_calls import SERVICE

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.telnet.listings import parse_ls, parse_status
from tornado_multi.dubbo.telnet.replies import DEFAULT_PROMPT

OLD = ["2.6.12", "2.7.23"]


def reply(version: str, kind: str, name: str) -> str:
    kept = {capture.name: capture.reply for capture in captures.read(version, kind)}
    return kept[name].removesuffix(DEFAULT_PROMPT).decode()


@pytest.mark.parametrize(
    ("version", "kind"), [("2.6.12", "text"), ("2.7.23", "text"), ("3.3.6", "qos")]
)
def test_services(version: str, kind: str) -> None:
    """Lines, lines below a head, or a table with services of Dubbo's own in it."""
    assert [SERVICE] == parse_ls(reply(version, kind, "ls"), "ls")


@pytest.mark.parametrize("version", OLD)
def test_methods_of_a_service(version: str) -> None:
    """With their types; each of an overloaded name."""
    methods = parse_ls(reply(version, "text", "ls-service"), "ls", SERVICE)

    assert {"int add(int,int)", "void nothing()", "int[] reverse(int[])"} <= set(methods)
    assert 2 == len([method for method in methods if " over(" in method])
    assert 28 == len(methods)


def test_qos_lists_no_methods() -> None:
    """It answers with its services, which are no methods."""
    with pytest.raises(errors.NotAllowedError, match="not the methods of"):
        parse_ls(reply("3.3.6", "qos", "ls-service"), "ls", SERVICE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("t.A\r\nt.B\r\n", ["t.A", "t.B"]),
        ("PROVIDER:\r\nt.A\r\n\r\nCONSUMER:\r\nt.B\r\n", ["t.A"]),
        ("t.A (as provider):\r\n\tadd\r\n\r\nt.A (as consumer):\r\n\tsub\r\n", ["add"]),
        ("Use default service t.A.\r\n\r\nadd\r\nsub\r\n", ["add", "sub"]),
        (
            "As Provider side:\n+-+\n|Name|PUB|\n+-+\n| t.A| N |\n+-+\nAs Consumer side:\n|N|\n| t.B|\n",
            ["t.A"],
        ),
    ],
)
def test_forms_of_lists(text: str, expected: list[str]) -> None:
    """What a provider calls is not what it offers."""
    assert expected == parse_ls(text, "ls")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Unsupported command: ls\r\n", errors.NotAllowedError),
        ("Command: ls disabled\r\n", errors.NotAllowedError),
        ("ls :permission deny\r\n", errors.NotAllowedError),
        ("No such service t.A\r\n", errors.NoSuchServiceError),
        ("No such service: t.A\r\n", errors.NoSuchServiceError),
        ("status :no such command\r\n", errors.RefusedError),
    ],
)
def test_refusals_are_no_lists(text: str, kind: type[errors.DubboError]) -> None:
    """Nor are they a status."""
    for parse in (parse_ls, parse_status):
        with pytest.raises(kind) as caught:
            parse(text, "ls")
        assert kind is type(caught.value)


def test_status() -> None:
    """One word."""
    assert ["OK", "OK"] == [
        parse_status(reply(version, "text", "status"), "status") for version in OLD
    ]
    with pytest.raises(errors.BadReplyError, match="no status"):
        parse_status("+---+---+\r\n", "status")
