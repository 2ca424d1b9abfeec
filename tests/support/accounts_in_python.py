"""The account service of tests/java for the provider in Python, method by method."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from support.account_calls import STRING, TALK, account
from tornado_multi.dubbo.hessian import JavaLong
from tornado_multi.testing.dubbo import JavaException, java
from tornado_multi.testing.dubbo.services import WrongArgumentHereError

# ruff: noqa: N802 - the interface in Java says what the methods do, and names them
_JAVA_NAMES = {
    str: STRING,
    bool: "java.lang.Boolean",
    float: "java.lang.Double",
    list: "java.util.ArrayList",
}
_LEVELS = ("BASIC", "GOLD")


class Accounts:
    """``com.example.AccountService``."""

    @java("long")
    def getByAccountId(self, number: int) -> dict[str, Any]:
        return account(number)

    @java(STRING)
    def echo(self, text: str) -> str:
        return text

    @java("int", "int")
    def add(self, one: int, other: int) -> int:
        return one + other

    @java("long", "long")
    def addLongs(self, one: int, other: int) -> int:
        return JavaLong(one + other)

    @java("double")
    def half(self, number: float) -> float:
        return number / 2

    @java("boolean")
    def negate(self, value: bool) -> bool:  # noqa: FBT001 - it is the value
        return not value

    @java("java.math.BigDecimal")
    def twice(self, amount: Decimal) -> Decimal:
        return Decimal(amount) * 2

    @java(STRING, name="over")
    def over_text(self, text: str) -> str:
        return f"String {text}"

    @java("java.lang.Integer", name="over")
    def over_number(self, number: int) -> str:
        return f"Integer {number}"

    @java("com.example.User", STRING, name="two")
    def two_user(self, user: dict[str, str], text: str) -> str:
        return f"User {user['name']} {text}"

    @java("com.example.Addr", STRING, name="two")
    def two_addr(self, addr: dict[str, str], text: str) -> str:
        return f"Addr {addr['city']} {text}"

    @java("com.example.Account")
    def nameOf(self, given: dict[str, Any]) -> str:
        return f"{given['name']} {given['entries'][0]['level']}"

    @java("java.util.Map")
    def describe(self, given: dict[str, Any]) -> dict[str, Any]:
        return {**{key: _class_of(value) for key, value in given.items()}, "given": given}

    @java()
    def nothing(self) -> None:
        pass

    @java()
    def nullValue(self) -> None:
        pass

    @java(STRING)
    def fail(self, message: str) -> None:
        raise JavaException("java.lang.IllegalStateException", message)

    @java(STRING)
    def failOwn(self, message: str) -> None:
        raise JavaException("com.example.AccountException", message)

    @java("int")
    async def slow(self, ms: int) -> str:
        await asyncio.sleep(ms / 1000)
        return f"slept {ms}"

    @java()
    def talk(self) -> str:
        return TALK

    @java("int")
    def bytes(self, count: int) -> bytes:
        return bytes(number % 256 for number in range(count))

    @java("byte[]")
    def lengthOf(self, given: bytes) -> int:
        return len(given)

    @java("int")
    def big(self, count: int) -> str:
        return "x" * count

    @java("com.example.Level", name="raise")
    def raise_level(self, level: str) -> str:
        if level not in _LEVELS:
            text = f"java.lang.IllegalArgumentException: No enum constant com.example.Level.{level}"
            raise WrongArgumentHereError(text)
        return _LEVELS[level == _LEVELS[0]]

    @java("java.util.Set")
    def distinct(self, texts: list[str]) -> list[str]:
        return sorted(set(texts))

    @java("int[]")
    def reverse(self, numbers: list[int]) -> list[int]:
        return numbers[::-1]

    @java("java.util.Date")
    def nextDay(self, date: datetime) -> datetime:
        return date + timedelta(days=1)

    @java("java.util.List")
    def nested(self, ids: list[list[int]]) -> list[dict[str, list[Any]]]:
        made = []
        for inner in ids:
            accounts = [account(number) for number in inner]
            made.append({f"of {len(inner)}": accounts, "again": accounts, "none": []})
        return made


def _class_of(value: Any) -> str | None:
    if type(value) is int:
        return "java.lang.Integer" if -(2**31) <= value < 2**31 else "java.lang.Long"
    return None if value is None else _JAVA_NAMES[type(value)]
