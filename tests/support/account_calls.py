"""Calls of the account service of tests/java, with what comes of each on every real provider.

Facts only, so that tests of a client, of captured bytes and of the providers share them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tornado_multi.dubbo import errors
from tornado_multi.dubbo.invocation import Call

SERVICE = "com.example.AccountService"
STRING = "java.lang.String"
OPENED = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
"""When the account 0 was opened; each is a millisecond younger than the one before."""
TALK = "你好 \U0001f600 dubbo>\r\ndubbo>"


@dataclass(frozen=True)
class AccountCall:
    """One call and its result."""

    name: str
    method: str
    args: tuple[Any, ...]
    types: tuple[str, ...] | None
    returned: Any

    def call(self) -> Call:
        return Call(SERVICE, self.method, self.args, self.types)


@dataclass(frozen=True)
class AccountFailure:
    """One call that fails, and how."""

    name: str
    call: Call
    kind: type[errors.DubboError]
    says: str
    """A pattern of the error's text."""
    class_name: str = ""
    """Of the Java exception, in a RemoteError."""

    def check(self, error: errors.DubboError) -> None:
        """Prove that an error is the one; the methods that raise have their message as argument."""
        assert self.kind is type(error), error
        said = error.message if isinstance(error, errors.RemoteError) else str(error)
        assert re.search(self.says, said), error
        if isinstance(error, errors.RemoteError):
            assert self.class_name == error.class_name
            assert not self.call.method.startswith("fail") or self.call.args[0] == error.message


def account(number: int) -> dict[str, Any]:
    """Return the account of this number, as a generic call brings it."""
    return {
        "class": "com.example.Account",
        "id": number,
        "name": f"客户 {number}",
        "entries": [entry(1, "0.50", "BASIC"), entry(2, "1.00", "GOLD")],
        "balance": Decimal(f"{number}.10"),
        "opened": OPENED + timedelta(milliseconds=number),
    }


def entry(number: int, amount: str, level: str) -> dict[str, Any]:
    return {
        "class": "com.example.Entry",
        "number": number,
        "amount": Decimal(amount),
        "level": level,
    }


def _user(name: str) -> dict[str, str]:
    return {"class": "com.example.User", "name": name}


def _addr(city: str) -> dict[str, str]:
    return {"class": "com.example.Addr", "city": city}


_TWO_USER = ("com.example.User", STRING)
_TWO_ADDR = ("com.example.Addr", STRING)
_BIG = "java.math.BigDecimal"
_MAP = "java.util.Map"
_NEXT = OPENED + timedelta(days=1)
_DESCRIBED = {"n": None, "s": "", "l": [1, "x"], "i": -7, "b": True, "d": 0.1, "long": 2**40}

CALLS = [
    AccountCall("account", "getByAccountId", (5,), ("long",), account(5)),
    AccountCall("account-of-long", "getByAccountId", (2**40,), ("long",), account(2**40)),
    AccountCall("account-unnamed-types", "getByAccountId", (7,), None, account(7)),
    AccountCall("echo", "echo", ("hi",), (STRING,), "hi"),
    AccountCall("echo-empty", "echo", ("",), (STRING,), ""),
    AccountCall("echo-null", "echo", (None,), (STRING,), None),
    AccountCall("echo-chinese", "echo", ("你好 诨 ڻ",), (STRING,), "你好 诨 ڻ"),
    AccountCall("echo-emoji", "echo", ("a\U0001f600z",), (STRING,), "a\U0001f600z"),
    AccountCall("echo-controls", "echo", ("\0\b\x1b[A\x7f\r\n",), (STRING,), "\0\b\x1b[A\x7f\r\n"),
    AccountCall("echo-signs", "echo", ('() --no-prompt "\\',), (STRING,), '() --no-prompt "\\'),
    AccountCall("echo-70000", "echo", ("é" * 70_000,), (STRING,), "é" * 70_000),
    AccountCall("echo-unnamed-types", "echo", ("hi",), None, "hi"),
    AccountCall("add", "add", (3, 4), ("int", "int"), 7),
    AccountCall("add-least", "add", (-(2**31), 0), ("int", "int"), -(2**31)),
    AccountCall("add-unnamed-types", "add", (3, 4), None, 7),
    AccountCall("long-small", "addLongs", (1, 2), ("long", "long"), 3),
    AccountCall("long-exact", "addLongs", (2**53, 1), ("long", "long"), 2**53 + 1),
    AccountCall("long-least", "addLongs", (-(2**63), 0), ("long", "long"), -(2**63)),
    AccountCall("long-unnamed-types", "addLongs", (1, 2**40), None, 2**40 + 1),
    AccountCall("half", "half", (0.2,), ("double",), 0.1),
    AccountCall("half-whole", "half", (4,), ("double",), 2.0),
    AccountCall("negate", "negate", (True,), ("boolean",), False),
    AccountCall("twice", "twice", (Decimal("1.50"),), (_BIG,), Decimal("3.00")),
    AccountCall("over-string", "over", ("x",), (STRING,), "String x"),
    AccountCall("over-int", "over", (1,), ("java.lang.Integer",), "Integer 1"),
    AccountCall("two-user", "two", (_user("ann"), "x"), _TWO_USER, "User ann x"),
    AccountCall("two-addr", "two", (_addr("bonn"), "x"), _TWO_ADDR, "Addr bonn x"),
    AccountCall("two-classless", "two", ({"city": "bonn"}, "x"), _TWO_ADDR, "Addr bonn x"),
    AccountCall("bean", "nameOf", (account(9),), ("com.example.Account",), "客户 9 BASIC"),
    AccountCall(
        "describe",
        "describe",
        (_DESCRIBED,),
        (_MAP,),
        {
            "n": None,
            "s": STRING,
            "l": "java.util.ArrayList",
            "i": "java.lang.Integer",
            "b": "java.lang.Boolean",
            "d": "java.lang.Double",
            "long": "java.lang.Long",
            "given": _DESCRIBED,
        },
    ),
    AccountCall("describe-empty", "describe", ({},), (_MAP,), {"given": {}}),
    AccountCall("nothing", "nothing", (), (), None),
    AccountCall("nothing-unnamed-types", "nothing", (), None, None),
    AccountCall("null", "nullValue", (), (), None),
    AccountCall("slow", "slow", (1,), ("int",), "slept 1"),
    AccountCall("talk", "talk", (), (), TALK),
    AccountCall("bytes", "bytes", (300,), ("int",), bytes(range(256)) + bytes(range(44))),
    AccountCall("bytes-none", "bytes", (0,), ("int",), b""),
    AccountCall("length", "lengthOf", (b"\0" * 70_000,), ("byte[]",), 70_000),
    AccountCall("big", "big", (100_000,), ("int",), "x" * 100_000),
    AccountCall("enum", "raise", ("BASIC",), ("com.example.Level",), "GOLD"),
    AccountCall("set", "distinct", (["b", "a", "b"],), ("java.util.Set",), ["a", "b"]),
    AccountCall("ints", "reverse", ([1, -2, 300_000],), ("int[]",), [300_000, -2, 1]),
    AccountCall("ints-none", "reverse", ([],), ("int[]",), []),
    AccountCall("date", "nextDay", (OPENED,), ("java.util.Date",), _NEXT),
    AccountCall(
        "date-ms",
        "nextDay",
        (OPENED + timedelta(milliseconds=1),),
        ("java.util.Date",),
        _NEXT + timedelta(milliseconds=1),
    ),
    AccountCall(
        "nested",
        "nested",
        ([[1, 2], []],),
        ("java.util.List",),
        [
            {"of 2": [account(1), account(2)], "again": [account(1), account(2)], "none": []},
            {"of 0": [], "again": [], "none": []},
        ],
    ),
]
"""What every version does alike over the binary port."""


def _failing(
    name: str, kind: type[errors.DubboError], says: str, call: Call, class_name: str = ""
) -> AccountFailure:
    return AccountFailure(name, call, kind, says, class_name)


def _call(method: str, *args: Any, types: tuple[str, ...] | None = None, **rest: Any) -> Call:
    return Call(rest.pop("service", SERVICE), method, args, types, **rest)


_NO_METHOD = errors.NoSuchMethodError
_NO_SERVICE = errors.NoSuchServiceError
_OWN = "com.example.AccountException"
_STATE = "java.lang.IllegalStateException"
_HINT = "There is no such method"
_NULL_POINTER = "java.lang.NullPointerException"

FAILURES = [
    _failing("fail", errors.RemoteError, "oh\r\ndubbo>no", _call("fail", "oh\r\ndubbo>no"), _STATE),
    _failing("fail-own", errors.RemoteError, "own", _call("failOwn", "own"), _OWN),
    _failing("null-for-int", errors.RemoteError, "null", _call("add", None, 1), _NULL_POINTER),
    _failing("no-service", _NO_SERVICE, "version", _call("echo", "x", service="com.example.No")),
    _failing("no-version", _NO_SERVICE, "version", _call("echo", "x", version="9.9")),
    _failing("no-group", _NO_SERVICE, "version", _call("echo", "x", group="g")),
    _failing("no-method", _NO_METHOD, "nope", _call("nope", "x", types=(STRING,))),
    _failing("no-method-unnamed-types", _NO_METHOD, "nope", _call("nope", "x")),
    _failing("wrong-types", _NO_METHOD, _HINT, _call("echo", 1, types=("int",))),
    _failing("unknown-type", _NO_METHOD, _HINT, _call("echo", 1, types=("com.example.No",))),
    _failing("too-few-arguments", _NO_METHOD, _HINT, _call("add", 1, types=("int",))),
    _failing("too-few-unnamed-types", _NO_METHOD, _HINT, _call("add", 1)),
    _failing("overloaded", _NO_METHOD, "Not unique", _call("over", "x")),
    _failing("no-number", errors.RefusedError, "argument", _call("add", "x", 1)),
    _failing("no-enum", errors.RefusedError, "argument", _call("raise", "NO")),
]
"""What every version refuses, or what the method raises."""

TEXT_CALLS = [
    AccountCall("add", "add", (3, 4), None, 7),
    AccountCall("echo", "echo", ("hi",), None, "hi"),
    AccountCall("echo-null", "echo", (None,), None, None),
    AccountCall("echo-chinese", "echo", ("你好 诨 ڻ \U0001f600",), None, "你好 诨 ڻ \U0001f600"),
    AccountCall("echo-controls", "echo", ("\0\b\x1b[A\x7f\r\n",), None, "\0\b\x1b[A\x7f\r\n"),
    AccountCall("echo-signs", "echo", ('() --no-prompt "\\',), None, '() --no-prompt "\\'),
    AccountCall("long-exact", "addLongs", (2**53, 1), None, 2**53 + 1),
    AccountCall("long-least", "addLongs", (-(2**63), 0), None, -(2**63)),
    AccountCall("half", "half", (0.5,), None, 0.25),
    AccountCall("negate", "negate", (True,), None, False),
    AccountCall("twice", "twice", (1.5,), None, 3.0),
    AccountCall("over-string", "over", ("x",), None, "String x"),
    AccountCall("over-int", "over", (1,), None, "Integer 1"),
    AccountCall("two-user", "two", (_user("ann"), "x"), None, "User ann x"),
    AccountCall("two-addr", "two", (_addr("bonn"), "x"), None, "Addr bonn x"),
    AccountCall("nothing", "nothing", (), None, None),
    AccountCall("null", "nullValue", (), None, None),
    AccountCall("talk", "talk", (), None, TALK),
    AccountCall("bytes", "bytes", (3,), None, "AAEC"),
    AccountCall("enum", "raise", ("BASIC",), None, "GOLD"),
    AccountCall("set", "distinct", (["b", "a"],), None, ["a", "b"]),
    AccountCall("ints", "reverse", ([1, -2],), None, [-2, 1]),
    AccountCall("big", "big", (100_000,), None, "x" * 100_000),
]
"""What every version does alike by text commands, where it has them."""

TEXT_BY_VERSION = {("3.3.6", "bytes"): [0, 1, 2]}
"""Results that one version writes in a form of its own, by version and name."""

TEXT_FAILURES = [
    _failing("fail", errors.RemoteError, "oh", _call("fail", "oh"), _STATE),
    _failing("fail-own", errors.RemoteError, "own", _call("failOwn", "own"), _OWN),
    _failing("no-service", _NO_SERVICE, "ls shows", _call("echo", "x", service="com.example.No")),
    _failing("no-method", _NO_METHOD, "nope", _call("nope", "x")),
    _failing("too-few-arguments", _NO_METHOD, "number or the types", _call("add", 1)),
    _failing("overloaded", _NO_METHOD, "binary protocol", _call("two", {"name": "ann"}, "x")),
]
"""What every version refuses by text commands, or what the method raises."""


def text_account(number: int) -> dict[str, Any]:
    """Return the account of this number as text commands bring it, but for the date.

    The date is an int of milliseconds from 2.x and a text without a time zone from 3.x.
    """
    return {
        "id": number,
        "name": f"客户 {number}",
        "entries": [
            {"number": 1, "amount": 0.5, "level": "BASIC"},
            {"number": 2, "amount": 1.0, "level": "GOLD"},
        ],
        "balance": float(f"{number}.1"),
    }
