"""Names of services and methods, and what of a provider's words gets into an error's text."""

from __future__ import annotations

import pytest

from tornado_multi.dubbo.errors import BadArgumentError, RefusedError, RemoteError
from tornado_multi.dubbo.names import NO_VERSION, check_method, locate_service

ACCOUNTS = "com.example.AccountService"


@pytest.mark.parametrize(
    ("name", "version", "group", "expected"),
    [
        (ACCOUNTS, NO_VERSION, None, (ACCOUNTS, NO_VERSION, None)),
        (ACCOUNTS, "1.2", "blue", (ACCOUNTS, "1.2", "blue")),
        (f"blue/{ACCOUNTS}:1.2", NO_VERSION, None, (ACCOUNTS, "1.2", "blue")),
        (f"blue/{ACCOUNTS}:1.2", "1.2", "blue", (ACCOUNTS, "1.2", "blue")),
        (f"blue/{ACCOUNTS}", "1.2", None, (ACCOUNTS, "1.2", "blue")),
        (f"{ACCOUNTS}:1.2", NO_VERSION, "blue", (ACCOUNTS, "1.2", "blue")),
        ("Accounts", NO_VERSION, None, ("Accounts", NO_VERSION, None)),
    ],
)
def test_group_and_version_stand_in_the_name_or_beside_it(
    name: str, version: str, group: str | None, expected: tuple[str, str, str | None]
) -> None:
    """The parts go to different places of a call, so they have to be told apart."""
    assert expected == locate_service(name, version, group)


@pytest.mark.parametrize(
    ("name", "version", "group", "says"),
    [
        (f"{ACCOUNTS}:1.2", "1.3", None, "in version 1.3"),
        (f"blue/{ACCOUNTS}", NO_VERSION, "green", "in group green"),
        (f"{ACCOUNTS}\r\nshutdown", NO_VERSION, None, "no name of a service"),
        ("", NO_VERSION, None, "no name of a service"),
        (f"/{ACCOUNTS}", NO_VERSION, None, "no name of a service"),
        (f"{ACCOUNTS}:", NO_VERSION, None, "no name of a service"),
    ],
)
def test_a_name_that_is_none_or_contradicts_is_refused(
    name: str, version: str, group: str | None, says: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(BadArgumentError, match=says):
        locate_service(name, version, group)


def test_a_method_is_one_word() -> None:
    """Else it could be a second command."""
    assert "get$1" == check_method("get$1")
    with pytest.raises(BadArgumentError, match="no name of a method"):
        check_method("get(1)\nls")


def test_control_characters_of_a_provider_reach_no_terminal() -> None:
    """They could repaint it or forge lines of a log; who needs them finds them in the message."""
    said = "a\x1b[2Jb\r\n\tc\x9bd\u2028e\u202ef\ud800 \u8d26\u6237"
    error = RemoteError("java.lang.IllegalStateException", said, said)
    assert said == error.message
    assert said == error.trace
    shown = "a\\x1b[2Jb\\r\n\tc\\x9bd\\u2028e\\u202ef\\ud800 \u8d26\u6237"
    assert f"java.lang.IllegalStateException: {shown}" == str(error)
    assert shown == str(RefusedError(said))
