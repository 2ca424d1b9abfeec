"""What a provider serves: objects whose public methods are called. Runs in: tests and demos."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class JavaException(Exception):  # noqa: N818 - it stands for a Java exception, whatever its name
    """Raise it in a method to have the caller get a Java exception of this class."""

    def __init__(self, class_name: str, message: str) -> None:
        super().__init__(f"{class_name}: {message}")
        self.class_name = class_name
        self.message = message


class NoSuchServiceHereError(Exception):
    """The provider does not export it."""


class NoSuchMethodHereError(Exception):
    """The service does not have it, not with so many arguments."""


def find_method(services: Mapping[str, Any], service: str, method: str, count: int) -> Any:
    """Return a method that takes so many arguments; a service may be named without its package.

    Raises: NoSuchServiceHereError, NoSuchMethodHereError.
    """
    _, _, service = service.rpartition("/")
    service = service.partition(":")[0]
    if service not in services:
        found = [name for name in services if name.rpartition(".")[2] == service]
        if not found:
            raise NoSuchServiceHereError(service)
        service = found[0]
    function = None if method.startswith("_") else getattr(services[service], method, None)
    if not callable(function):
        raise NoSuchMethodHereError(method)
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        raise NoSuchMethodHereError(method) from None
    return function


async def call(function: Any, args: Sequence[Any]) -> Any:
    """Call a method, which may be async."""
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


class AccountService:
    """The service of the demo: ``com.example.AccountService``."""

    def getByAccountId(self, account_id: int) -> dict[str, Any]:  # noqa: N802 - as in Java
        """Return an account, which is made up from its number."""
        return {
            "class": "com.example.Account",
            "id": account_id,
            "name": f"Owner {account_id}",
            "tags": ["demo", "账户"],
        }

    def echo(self, value: Any) -> Any:
        """Return what came."""
        return value

    def add(self, one: int, other: int) -> int:
        """Return a sum."""
        return one + other

    def nothing(self) -> None:
        """Return nothing."""

    def big(self, count: int) -> str:
        """Return a string of so many characters."""
        return "x" * count

    def fail(self, message: str) -> None:
        """Raise."""
        raise JavaException("java.lang.IllegalStateException", message)
