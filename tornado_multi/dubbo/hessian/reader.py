"""Hessian 2 bytes to values. Pure.

What a peer claims is never believed before it is there: memory and time are bounded by the length
of the input.
"""

from __future__ import annotations

import re
import struct
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.hessian.values import MOST_DEPTH, HessianError, JavaObject

if TYPE_CHECKING:
    from collections.abc import Callable

_DOUBLE = struct.Struct(">d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_FOUR_BYTE_LEAD = re.compile(b"[\xf0-\xff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Names, types, counts and numbers of references can't be just any value: reading them so would let
# hostile bytes recurse without a container.
_STRINGS = frozenset((*range(0x20), *range(0x30, 0x34), 0x52, 0x53))
_INTS = frozenset((0x49, *range(0x80, 0xD8)))
_MOST_DIGITS = 4000
"""Of a BigInteger: Python turns no longer text into a number, for the time it takes."""


def decode(data: bytes) -> Any:
    """Return the only value of *data*.

    Raises: HessianError: it is none, or something follows.
    """
    reader = Reader(data)
    value = reader.read()
    if not reader.is_at_end():
        text = f"{len(data) - reader.position} bytes follow the value."
        raise HessianError(text)
    return value


class Reader:
    """Reads one value after the other, with one numbering of references."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        self._containers: list[Any] = []
        """By number, in order of their start; the reader of a reference may come before their end."""
        self._types: list[str] = []
        self._definitions: list[tuple[str, tuple[str, ...]]] = []
        self._depth = 0

    def is_at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self.position >= len(self.data)

    def read(self) -> Any:
        """Return the next value.

        Raises: HessianError: the bytes are none, or end in its midst.
        """
        position = self.position
        if position >= len(self.data):
            raise HessianError("The data ends in the midst of a value.")
        code = self.data[position]
        self.position = position + 1
        while code == 0x43:  # "C": a definition stands before the first object
            self._define()
            code = self._byte()
        return _READERS[code](self, code)

    # --- scalars ----------------------------------------------------------------------------------

    def _byte(self) -> int:
        if self.position >= len(self.data):
            raise HessianError("The data ends in the midst of a value.")
        self.position += 1
        return self.data[self.position - 1]

    def _take(self, length: int) -> bytes:
        begin = self.position
        if length > len(self.data) - begin:
            raise HessianError("The data ends in the midst of a value.")
        self.position = begin + length
        return self.data[begin : self.position]

    def _signed(self, length: int) -> int:
        return int.from_bytes(self._take(length), "big", signed=True)

    def _unsigned(self, length: int) -> int:
        return int.from_bytes(self._take(length), "big")

    def _unknown(self, code: int) -> Any:
        text = f"No value begins with the byte {code:#04x} (at {self.position - 1})."
        raise HessianError(text)

    def _double(self, code: int) -> float:
        match code:
            case 0x5B:
                return 0.0
            case 0x5C:
                return 1.0
            case 0x5D:
                return float(self._signed(1))
            case 0x5E:
                return float(self._signed(2))
            case 0x5F:
                return 0.001 * self._signed(4)
        return float(_DOUBLE.unpack(self._take(8))[0])

    def _date(self, code: int) -> datetime:
        milliseconds = self._signed(8) if code == 0x4A else 60_000 * self._signed(4)
        try:
            return _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError as error:
            text = f"The date of {milliseconds} ms is outside the years 1 to 9999."
            raise HessianError(text) from error

    # --- strings and bytes ------------------------------------------------------------------------

    def _string(self, code: int) -> str:
        if code < 0x20:  # most names and keys: short, and ASCII
            end = self.position + code
            raw = self.data[self.position : end]
            if len(raw) == code and raw.isascii():
                self.position = end
                return raw.decode("ascii")
        parts = []
        while code == 0x52:  # "R": more chunks follow
            parts.append(self._text(self._unsigned(2)))
            code = self._byte()
        if code < 0x20:
            length = code
        elif 0x30 <= code < 0x34:
            length = (code - 0x30 << 8) + self._byte()
        elif code == 0x53:
            length = self._unsigned(2)
        else:
            text = f"A string can't go on with the byte {code:#04x}."
            raise HessianError(text)
        parts.append(self._text(length))
        text = "".join(parts)
        if _SURROGATE.search(text):
            # Pairs become the character that they stand for; a half remains what it is.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return text

    def _text(self, units: int) -> str:
        """Return so many UTF-16 units, each written in one to three bytes."""
        begin = end = self.position
        missing = units
        while missing:  # each step adds what is missing at least
            step = self.data[end : end + missing]
            if len(step) < missing:
                raise HessianError("The data ends in the midst of a string.")
            end += missing
            missing -= len(step.translate(None, _CONTINUATIONS))
        if units:  # the last step saw nothing but first bytes of units
            last = self.data[end - 1]
            end += (last >= 0xC0) + (last >= 0xE0)
        raw = self.data[begin:end]
        self.position = end
        if raw.isascii():
            return raw.decode("ascii")
        try:
            if _FOUR_BYTE_LEAD.search(raw):
                raise HessianError("A string has a character of four bytes, which Hessian has not.")
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            text = f"A string is not encoded as Hessian does it: {error}."
            raise HessianError(text) from error

    def _binary(self, code: int) -> bytes:
        parts = []
        while code == 0x41:  # "A": more chunks follow
            parts.append(self._take(self._unsigned(2)))
            code = self._byte()
        if 0x20 <= code < 0x30:
            length = code - 0x20
        elif 0x34 <= code < 0x38:
            length = (code - 0x34 << 8) + self._byte()
        elif code == 0x42:
            length = self._unsigned(2)
        else:
            text = f"Bytes can't go on with the byte {code:#04x}."
            raise HessianError(text)
        parts.append(self._take(length))
        return b"".join(parts)

    # --- containers -------------------------------------------------------------------------------

    def _reference(self, _: int) -> Any:
        number = self._int()
        if not 0 <= number < len(self._containers):
            text = f"A reference names container {number} of {len(self._containers)}."
            raise HessianError(text)
        return self._containers[number]

    def _list(self, code: int) -> list[Any]:
        length: int | None = None
        if code < 0x58 or code in range(0x70, 0x78):
            if code != 0x57:
                self._type()
            if code == 0x56:
                length = self._count("list")
        elif code == 0x58:
            length = self._count("list")
        if code >= 0x70:
            length = code & 7
        made: list[Any] = []
        self._containers.append(made)
        self._deeper()
        if length is None:
            while not self._ends():
                made.append(self.read())
        else:
            made.extend(self.read() for _ in range(length))
        self._depth -= 1
        return made

    def _map(self, code: int) -> Any:
        type_name = self._type() if code == 0x4D else ""
        made: dict[Any, Any] = {}
        is_plain = not type_name or type_name.startswith("java.util.")
        self._containers.append(made if is_plain else JavaObject(type_name, made))
        result = self._containers[-1]
        self._deeper()
        while not self._ends():
            key = self.read()
            try:
                made[key] = self.read()
            except TypeError as error:
                text = f"A map has a {type(key).__name__} as a key, which a dict can't have."
                raise HessianError(text) from error
        self._depth -= 1
        return result

    def _define(self) -> None:
        name = self._name("a class")
        count = self._count("definition")
        self._definitions.append((name, tuple(self._name("a field") for _ in range(count))))

    def _object(self, code: int) -> Any:
        number = self._int() if code == 0x4F else code - 0x60
        if not 0 <= number < len(self._definitions):
            text = f"An object names definition {number} of {len(self._definitions)}."
            raise HessianError(text)
        name, fields = self._definitions[number]
        made = JavaObject(name, {})
        place = len(self._containers)
        self._containers.append(made)
        self._deeper()
        for field in fields:
            made.fields[field] = self.read()
        self._depth -= 1
        value = _as_python(made)
        self._containers[place] = value
        return value

    # --- parts of containers ----------------------------------------------------------------------

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            text = f"More than {MOST_DEPTH} lists, maps and objects are inside each other."
            raise HessianError(text)

    def _ends(self) -> bool:
        if self.position < len(self.data) and self.data[self.position] == 0x5A:  # "Z"
            self.position += 1
            return True
        return False

    def _int(self) -> int:
        code = self._byte()
        if code not in _INTS:
            text = f"A number was expected, not what begins with the byte {code:#04x}."
            raise HessianError(text)
        value: int = _READERS[code](self, code)
        return value

    def _count(self, what: str) -> int:
        """Return how many values follow: no more than there are bytes."""
        count = self._int()
        if not 0 <= count <= len(self.data) - self.position:
            left = len(self.data) - self.position
            text = f"A {what} claims {count} members, but {left} bytes are left."
            raise HessianError(text)
        return count

    def _name(self, what: str) -> str:
        code = self._byte()
        if code not in _STRINGS:
            text = f"The name of {what} can't begin with the byte {code:#04x}."
            raise HessianError(text)
        return self._string(code)

    def _type(self) -> str:
        if self.position < len(self.data) and self.data[self.position] in _STRINGS:
            self._types.append(self._name("a type"))
            return self._types[-1]
        number = self._int()
        if not 0 <= number < len(self._types):
            text = f"A list or map names type {number} of {len(self._types)}."
            raise HessianError(text)
        return self._types[number]


def _as_python(made: JavaObject) -> Any:
    text = made.fields.get("value")
    if len(made.fields) != 1 or not isinstance(text, str):
        return made
    try:
        match made.class_name:
            case "java.math.BigDecimal":
                return Decimal(text)
            case "java.math.BigInteger" if len(text) <= _MOST_DIGITS:
                return int(text)
            case "java.util.UUID":
                return uuid.UUID(text)
    except (ValueError, InvalidOperation) as error:
        raise HessianError(f"No {made.class_name}: {text!r:.40}.") from error
    return made


def _table() -> list[Callable[[Reader, int], Any]]:
    """Return who reads what begins with each of the 256 bytes."""
    table: list[Callable[[Reader, int], Any]] = [Reader._unknown] * 256  # noqa: SLF001

    def put(codes: range | tuple[int, ...], read: Callable[[Reader, int], Any]) -> None:
        for code in codes:
            table[code] = read

    put(tuple(_STRINGS), Reader._string)  # noqa: SLF001
    put((*range(0x20, 0x30), *range(0x34, 0x38), 0x41, 0x42), Reader._binary)  # noqa: SLF001
    put(range(0x38, 0x40), lambda self, code: (code - 0x3C << 16) + self._unsigned(2))
    put((0x44, *range(0x5B, 0x60)), Reader._double)  # noqa: SLF001
    put((0x46,), lambda *_: False)
    put((0x54,), lambda *_: True)
    put((0x4E,), lambda *_: None)
    put((0x48, 0x4D), Reader._map)  # noqa: SLF001
    put((0x49, 0x59), lambda self, _: self._signed(4))
    put((0x4C,), lambda self, _: self._signed(8))
    put((0x4A, 0x4B), Reader._date)  # noqa: SLF001
    put((0x4F, *range(0x60, 0x70)), Reader._object)  # noqa: SLF001
    put((0x51,), Reader._reference)  # noqa: SLF001
    put((*range(0x55, 0x59), *range(0x70, 0x80)), Reader._list)  # noqa: SLF001
    put(range(0x80, 0xC0), lambda _, code: code - 0x90)
    put(range(0xC0, 0xD0), lambda self, code: (code - 0xC8 << 8) + self._byte())
    put(range(0xD0, 0xD8), lambda self, code: (code - 0xD4 << 16) + self._unsigned(2))
    put(range(0xD8, 0xF0), lambda _, code: code - 0xE0)
    put(range(0xF0, 0x100), lambda self, code: (code - 0xF8 << 8) + self._byte())
    return table


_READERS = _table()
