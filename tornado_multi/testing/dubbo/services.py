"""What a provider serves: objects whose public methods are called. Runs in: tests and demos."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Method = TypeVar("Method", bound="Callable[..., Any]")
PRIMITIVES = frozenset({"byte", "short", "int", "long", "float", "double", "boolean"})
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("byte", "short", "int", "long", "Integer", "Long"), int),
    **dict.fromkeys(("float", "double", "Double"), (int, float)),
    **dict.fromkeys(("boolean", "Boolean"), bool),
    "String": str,
}


class JavaException(Exception):  # noqa: N818 - it stands for a Java exception, whatever its name
    """Raise it in a method to have the caller get a Java exception of this class."""

    def __init__(self, class_name: str, message: str) -> None:
        super().__init__(f"{class_name}: {message}")
        self.class_name = class_name
        self.message = message


class NoSuchServiceHereError(Exception):
    """The provider does not export it."""


class NoSuchMethodHereError(Exception):
    """The service does not have it, not with so many arguments or such types."""


class AmbiguousHereError(Exception):
    """The service has several of that name; the arguments are their parameter types."""


class WrongArgumentHereError(Exception):
    """An argument is nothing that the method takes; the text is Java's."""


def java(*types: str, name: str | None = None) -> Callable[[Method], Method]:
    """Declare the Java types of a method's parameters, and its Java name if that is another.

    Overloads are methods of several Python names with one Java name.
    """

    def declare(method: Method) -> Method:
        method.java_types, method.java_name = types, name  # type: ignore[attr-defined]
        return method

    return declare


def find_method(
    services: Mapping[str, Any],
    service: str,
    method: str,
    args: Sequence[Any],
    types: Sequence[str] | None = None,
    *,
    by_values: bool = False,
) -> Any:
    """Return a method as providers choose it; a service may be named without its package.

    Args: types: names of the parameter types. by_values: without them, several of one name are told
        apart by the arguments, as text commands do.
    Raises: NoSuchServiceHereError, NoSuchMethodHereError, AmbiguousHereError, WrongArgumentHereError.
    """
    named = _methods(_service(services, service), method)
    fitting = [one for one in named if _takes(one, len(args), types)]
    if by_values and len(fitting) > 1:
        fitting = [one for one in fitting if not _misfits(one, args)]
    if len(fitting) > 1 or (len(named) > 1 and types is None and not by_values):
        raise AmbiguousHereError(*[getattr(one, "java_types", ()) for one in named])
    if not fitting:
        raise NoSuchMethodHereError(method)
    (function,) = fitting
    for value, type_name in _misfits(function, args):
        if value is None:
            raise JavaException("java.lang.NullPointerException", f"null for {type_name}")
        raise WrongArgumentHereError(
            f'java.lang.NumberFormatException: For input string: "{value}"'
        )
    return function


def _service(services: Mapping[str, Any], name: str) -> Any:
    if name in services:
        return services[name]
    short = name.rpartition("/")[2].partition(":")[0]
    for known, found in services.items():
        if short in {known, known.rpartition(".")[2]}:
            return found
    raise NoSuchServiceHereError(name)


def _methods(service: Any, name: str) -> list[Any]:
    found = []
    for attribute in dir(service):
        method = getattr(service, attribute)
        java_name = getattr(method, "java_name", None) or attribute
        if callable(method) and not attribute.startswith("_") and java_name == name:
            found.append(method)
    return found


def _takes(method: Any, count: int, types: Sequence[str] | None) -> bool:
    declared = getattr(method, "java_types", None)
    if declared is not None and types is not None and tuple(types) != tuple(declared):
        return False
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return types is None or len(types) == count


def _misfits(method: Any, args: Sequence[Any]) -> list[tuple[Any, str]]:
    """Return the arguments that are nothing of their declared type, each with that."""
    declared = getattr(method, "java_types", None) or ()
    return [
        (value, name) for value, name in zip(args, declared, strict=False) if not _fits(value, name)
    ]


def _fits(value: Any, type_name: str) -> bool:
    if value is None:
        return type_name not in PRIMITIVES
    kind = _KINDS.get(type_name.rpartition(".")[2])
    if kind is None:  # an object: by its class, if it names one
        named = value.get("class") if isinstance(value, dict) else None
        return named is None or named == type_name
    return isinstance(value, kind) and isinstance(value, bool) is (kind is bool)


def signatures(service: Any) -> list[str]:
    """Return the methods of a service as ``ls -l`` shows them, with the types that are known."""
    found = []
    for attribute in dir(service):
        method = getattr(service, attribute)
        if callable(method) and not attribute.startswith("_"):
            types = getattr(method, "java_types", None)
            if types is None:
                types = ["java.lang.Object"] * len(inspect.signature(method).parameters)
            name = getattr(method, "java_name", None) or attribute
            found.append(f"java.lang.Object {name}({','.join(types)})")
    return found


async def call(function: Any, args: Sequence[Any]) -> Any:
    """Call a method, which may be async."""
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


class AccountService:
    """The service of the demo: ``com.example.AccountService``."""

    @java("long")
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

    @java("int", "int")
    def add(self, one: int, other: int) -> int:
        """Return a sum."""
        return one + other

    def nothing(self) -> None:
        """Return nothing."""

    @java("int")
    def big(self, count: int) -> str:
        """Return a string of so many characters."""
        return "x" * count

    @java("java.lang.String")
    def fail(self, message: str) -> None:
        """Raise."""
        raise JavaException("java.lang.IllegalStateException", message)
