"""Calls by generic ``$invoke`` in the bodies of frames: no Java class is needed for them. Pure.

The provider takes the method's name, the names of its parameter types and the arguments, and gives
objects back as maps with a key ``class``.
"""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.errors import (
    BadArgumentError,
    BadReplyError,
    CallTimeoutError,
    DubboError,
    NoSuchMethodError,
    NoSuchServiceError,
    OutcomeUnknownError,
    OverloadedError,
    RefusedError,
    RemoteError,
)
from tornado_multi.dubbo.frames import Status
from tornado_multi.dubbo.hessian import (
    HessianError,
    JavaArray,
    JavaLong,
    JavaObject,
    Reader,
    Start,
    Writer,
    decode,
    encode,
)
from tornado_multi.dubbo.names import NO_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROTOCOL_VERSION = "2.0.2"
"""Answers to it bring attachments along."""
_DESCRIPTOR = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"
_GENERIC_EXCEPTIONS = ("GenericException", "RpcException", "RemotingException")
_EXCEPTION, _VALUE, _NULL = 0, 1, 2
_WITH_ATTACHMENTS = 3
"""Added to the three above when a map follows."""
_KINDS = frozenset(range(6))
MOST_TIMEOUT_MS = 2**31 - 1
"""Providers read it as a Java int."""
SHORT_BYTES = 128
"""Of attachments: longer ones are hardly ever the same twice."""


@dataclass(frozen=True)
class Call:
    """One call of a method."""

    service: str
    method: str
    args: tuple[Any, ...] = ()
    types: tuple[str, ...] | None = None
    """Java names of the parameter types, for overloads and for ints that are longs there. None: the
    provider takes the only method of that name."""
    version: str = NO_VERSION
    group: str | None = None
    attachments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a method returned."""

    value: Any
    attachments: dict[str, Any]


def encode_call(call: Call, timeout_s: float) -> bytes:
    """Return the body of a request.

    Raises: BadArgumentError: an argument has no form in Hessian, or does not fit its type.
    """
    timeout_ms = min(MOST_TIMEOUT_MS, max(1, round(timeout_s * 1000)))
    try:
        writer = Writer.after(_start_of(call.service, call.version, call.method, call.types))
        writer.write(JavaArray("[object", _typed_args(call)))
        usual = _usual_attachments(call.service, call.version, call.group, timeout_ms)
        if call.attachments:
            _check_attachments(call)
            writer.write({**call.attachments, **usual.values})
        else:
            writer.out += usual.out
    except (HessianError, RecursionError) as error:
        raise BadArgumentError(f"{call.service}.{call.method}: {error}") from error
    return bytes(writer.out)


def _check_attachments(call: Call) -> None:
    wrong = next((key for key in call.attachments if not isinstance(key, str)), None)
    if wrong is not None:
        text = f"{call.service}.{call.method}: attachments are named by str, not {wrong!r:.60}."
        raise BadArgumentError(text)


@functools.lru_cache(maxsize=1024)
def _start_of(service: str, version: str, method: str, types: tuple[str, ...] | None) -> Start:
    """Return what all calls of a method begin with."""
    writer = Writer()
    for text in (PROTOCOL_VERSION, service, version, "$invoke", _DESCRIPTOR, method):
        writer.write(text)
    writer.write(None if types is None else JavaArray("[string", types))
    return writer.start()


@dataclass(frozen=True, slots=True)
class _Attachments:
    """What goes with each call of a service, and how it is written where nothing else does."""

    values: dict[str, str]
    out: bytes


@functools.lru_cache(maxsize=1024)
def _usual_attachments(
    service: str, version: str, group: str | None, timeout_ms: int
) -> _Attachments:
    values = {
        "path": service,
        "interface": service,
        "version": version,
        "timeout": str(timeout_ms),
        "generic": "true",
    }
    if group is not None:
        values["group"] = group
    return _Attachments(values, encode(values))


@functools.lru_cache(maxsize=256)
def _told(data: bytes) -> dict[str, str] | None:
    """Return the attachments of an answer, mostly the same for all. None: they are not just text.

    What is not may refer to the value before it, and whoever gets it may change it.
    Raises: HessianError: they can't be read by themselves, which those can't that refer back.
    """
    value = decode(data)
    if not isinstance(value, dict):
        return None
    return value if all(type(part) is str for item in value.items() for part in item) else None


def decode_answer(status: int, body: bytes, name: str) -> Answer:
    """Return what a response brings.

    Args: name: of the service and method, for error texts.
    Raises: RemoteError: the method raised. RefusedError, OutcomeUnknownError: by the status.
        BadReplyError: the body is none.
    """
    reader = Reader(body)
    try:
        if status != Status.OK:
            text = reader.read() if body else ""
            raise _failure(status, text if isinstance(text, str) else _shown(text), name)
        kind = reader.read()
        if type(kind) is not int or kind not in _KINDS:
            raise BadReplyError(f"The answer of {name} is of the unknown kind {_shown(kind)}.")
        value = None if kind in {_NULL, _NULL + _WITH_ATTACHMENTS} else reader.read()
        attachments = {} if reader.is_at_end() else _attachments(reader)
    except (HessianError, RecursionError) as error:
        raise BadReplyError(f"The answer of {name} can't be read: {error}") from error
    if kind in {_EXCEPTION, _EXCEPTION + _WITH_ATTACHMENTS}:
        raise _remote_error(value, name)
    return Answer(value, attachments if isinstance(attachments, dict) else {})


def _attachments(reader: Reader) -> Any:
    rest = reader.data[reader.position :]
    if len(rest) <= SHORT_BYTES:
        with contextlib.suppress(HessianError):
            told = _told(rest)
            if told is not None:
                return dict(told)
    return reader.read()


def _shown(value: Any) -> str:
    """Return what came, for an error text.

    Containers are only named: by references a few bytes can hold more than memory can write out.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return f"{value!r:.500}"
    return f"a {type(value).__name__}"


# --- arguments ------------------------------------------------------------------------------------


def _typed_args(call: Call) -> list[Any] | tuple[Any, ...]:
    if call.types is None:
        return call.args
    if len(call.types) != len(call.args):
        text = (
            f"{call.service}.{call.method} is called with {len(call.args)} arguments, but "
            f"{len(call.types)} types are named."
        )
        raise BadArgumentError(text)
    return [
        _as_type(value, type_name, f"Argument {number} of {call.service}.{call.method}")
        for number, (value, type_name) in enumerate(
            zip(call.args, call.types, strict=True), start=1
        )
    ]


def _as_type(value: Any, type_name: str, what: str) -> Any:
    """Return a value in the form that a parameter of this type takes.

    A provider of 2.6 calls the method with null in place of an argument that does not fit.
    """
    package, _, short = type_name.rpartition(".")
    convert = _CONVERSIONS.get(short) if package in _PACKAGES else None
    if convert is None or value is None or "[" in type_name:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise BadArgumentError(f"{what} is no {type_name}: {error}.") from error


def _int_of(bits: int, make: type[int] = int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{value!r:.60} is not an int")
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"{value!r:.60} needs more than {bits} bits")
        return make(value)

    return convert


def _float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r:.60} is no number")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise TypeError(f"{value!r:.60} is not a Decimal, int or str")
    return Decimal(value)


def _exactly(kind: type, name: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r:.60} is not a {name}")
        return value

    return convert


_PACKAGES = frozenset({"", "java.lang", "java.math"})
"""Of the types below: others may have a class of the same name."""
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "byte": _int_of(8),
    "Byte": _int_of(8),
    "short": _int_of(16),
    "Short": _int_of(16),
    "int": _int_of(32),
    "Integer": _int_of(32),
    "long": _int_of(64, JavaLong),
    "Long": _int_of(64, JavaLong),
    "float": _float,
    "Float": _float,
    "double": _float,
    "Double": _float,
    "boolean": _exactly(bool, "bool"),
    "Boolean": _exactly(bool, "bool"),
    "String": _exactly(str, "str"),
    "BigDecimal": _decimal,
}


# --- failures -------------------------------------------------------------------------------------

_NO_SERVICE = re.compile(
    # The last one is all that 3.x says when it knows no such service, version or group.
    r"Not found exported service|service not found"
    r"|Fail to decode request due to: RpcInvocation \[methodName=\$invoke, parameterTypes=null\]",
    re.IGNORECASE,
)
_NO_METHOD = re.compile(
    r"NoSuchMethodException|Not unique method for method name|No such method "
    r"|args\.length != types\.length"
)
_LOOKS_FOR_METHOD = re.compile(
    r"[^\n]*\n[^\n]*\n[ \t]*at [\w.]*\.GenericFilter\.invoke.*"
    r"^Caused by: java\.lang\.(?:NoSuchMethod|ClassNotFound)Exception",
    re.DOTALL | re.MULTILINE,
)
"""A trace from the place where the provider looks for the method; its message is a bare name."""
_TAKES_ARGUMENTS = re.compile(r"^[ \t]*at [\w.]*\.PojoUtils\.realize", re.MULTILINE)
"""A trace from the place where the provider makes Java objects of the arguments."""
_TOO_LARGE = re.compile(r"Data length too large")
_JAVA_ERROR = re.compile(
    r"(?:[\w.$]*\.RpcException: )?(?P<class>(?:\w+\.)+[\w$]+)(?:: (?P<message>.*))?"
)
_BY_STATUS: dict[int, type[DubboError]] = {
    Status.CLIENT_TIMEOUT: CallTimeoutError,
    Status.SERVER_TIMEOUT: CallTimeoutError,
    Status.BAD_REQUEST: RefusedError,
    Status.CLIENT_ERROR: RefusedError,
    Status.THREADS_EXHAUSTED: OverloadedError,
}
_NAME_TYPES = (
    "There is no such method, or not with such arguments; if it has overloads, or takes other types "
    "than the arguments have, name them as the Java interface does (types=[...])."
)


def _failure(status: int, text: str, name: str) -> DubboError:
    """Return the error for a status other than OK; *text* is mostly a Java trace."""
    first = text.strip().partition("\n")[0][:500]
    said = f"{name}: the provider says: {first}" if first else f"{name}: status {status}."
    if status == Status.SERVICE_NOT_FOUND or _NO_SERVICE.search(first):
        hint = " Look at the name, the version and the group."
        return NoSuchServiceError(f"{said}{hint}")
    if _TOO_LARGE.search(first):
        hint = (
            " The call or its answer is larger than its dubbo.protocol.payload (8 MiB if not set)."
        )
        return OutcomeUnknownError(f"{said}{hint}")
    if status in {Status.SERVICE_ERROR, Status.SERVER_ERROR}:
        return _service_error(first or f"status {status}", text, said)
    return _BY_STATUS.get(status, OutcomeUnknownError)(said)


def _service_error(first: str, text: str, said: str) -> DubboError:
    """Return the error for what went wrong round the method: what it raises itself has status OK."""
    if _NO_METHOD.search(first) or _LOOKS_FOR_METHOD.match(text):
        return NoSuchMethodError(f"{said}\n{_NAME_TYPES}")
    if _TAKES_ARGUMENTS.search(text):
        return RefusedError(f"{said} It can't make what the method takes of an argument.")
    known = _JAVA_ERROR.fullmatch(first)
    if known is None:
        return RemoteError("", first, text)
    return RemoteError(known["class"], known["message"] or "", text)


def _remote_error(value: Any, name: str) -> DubboError:
    """Return the error for what a method raised: the Java exception in its generic cover."""
    if not isinstance(value, JavaObject):
        return RemoteError("", _shown(value))
    fields = value.fields
    short = value.class_name.rpartition(".")[2]
    message = _text(fields.get("exceptionMessage") or fields.get("detailMessage"))
    class_name = _text(fields.get("exceptionClass")) or value.class_name
    if _NO_METHOD.search(f"{class_name}: {message}") and short in _GENERIC_EXCEPTIONS:
        return NoSuchMethodError(f"{name}: the provider says: {message}\n{_NAME_TYPES}")
    return RemoteError(class_name, message, _trace(fields.get("stackTrace")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_PLACE = ("declaringClass", "methodName", "fileName", "lineNumber")


def _part(element: JavaObject, name: str) -> str:
    value = element.fields.get(name)
    return value if isinstance(value, str) else _shown(value)


def _trace(elements: Any) -> str:
    """Return a Java stack trace as Java prints it."""
    if not isinstance(elements, list):
        return ""
    lines = []
    for element in elements:
        if isinstance(element, JavaObject):
            where, method, file, line = (_part(element, name) for name in _PLACE)
            lines.append(f"at {where}.{method}({file}:{line})")
    return "\n".join(lines)
