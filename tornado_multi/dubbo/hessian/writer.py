"""Values to Hessian 2 bytes. Pure."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.hessian.values import (
    MOST_DEPTH,
    HessianError,
    JavaArray,
    JavaLong,
    JavaObject,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHUNK_UNITS = 0x8000
"""Longer strings and bytes are cut into chunks, as Java's writer does."""
MS_PER_MINUTE = 60_000
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_TWO_BYTES, _FOUR_BYTES, _EIGHT_BYTES = (
    struct.Struct(">H"),
    struct.Struct(">i"),
    struct.Struct(">q"),
)
_DOUBLE = struct.Struct(">d")
_HIGH_SURROGATES = range(0xD800, 0xDC00)
_MS = datetime.resolution * 1000


def encode(*values: Any) -> bytes:
    """Return values one after the other, with one numbering of references.

    Raises: HessianError: one of them, or what is in it, has no form in Hessian.
    """
    writer = Writer()
    for value in values:
        writer.write(value)
    return bytes(writer.out)


@dataclass(frozen=True, slots=True)
class Start:
    """The first values of many messages that begin alike, written once."""

    out: bytes
    types: tuple[str, ...]
    containers: int


class Writer:
    """Writes values to ``out``; a container that comes again is written as a reference."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._numbers: dict[int, int] = {}
        """id of a container -> its number, in order of their start"""
        self._first_number = 0
        self._kept: list[Any] = []
        """Containers whose id is in use here must live."""
        self._types: dict[str, int] = {}
        self._definitions: dict[tuple[str, ...], int] = {}
        self._depth = 0

    @classmethod
    def after(cls, start: Start) -> Writer:
        """Return a writer that goes on where another one was."""
        writer = cls()
        writer.out += start.out
        writer._types = {name: number for number, name in enumerate(start.types)}
        writer._first_number = start.containers
        return writer

    def start(self) -> Start:
        """Return what was written, for others to go on from; its containers can't be referred to."""
        containers = self._first_number + len(self._numbers)
        return Start(bytes(self.out), tuple(self._types), containers)

    def write(self, value: Any) -> None:
        """Write one value, by its type.

        Raises: HessianError: it has no form in Hessian.
        """
        write = _WRITERS.get(type(value))
        if write is None:
            write = next((make for kind, make in _WRITERS.items() if isinstance(value, kind)), None)
        if write is None:
            text = f"A {type(value).__qualname__} can't be sent: {_short(value)}."
            raise HessianError(text)
        write(self, value)

    def null(self, _: None = None) -> None:
        """Write null."""
        self.out += b"N"

    def boolean(self, value: bool) -> None:  # noqa: FBT001 - it is the value
        """Write a boolean."""
        self.out += b"T" if value else b"F"

    def number(self, value: int) -> None:
        """Write an int, or a long if 32 bits don't hold it."""
        if -16 <= value <= 47:
            self.out.append(0x90 + value)
        elif -2048 <= value <= 2047:
            self.out += bytes((0xC8 + (value >> 8), value & 0xFF))
        elif -262144 <= value <= 262143:
            self.out.append(0xD4 + (value >> 16))
            self.out += (value & 0xFFFF).to_bytes(2, "big")
        elif -(2**31) <= value < 2**31:
            self.out += b"I"
            self.out += _FOUR_BYTES.pack(value)
        else:
            self.long(value)

    def long(self, value: int) -> None:
        """Write a long.

        Raises: HessianError: 64 bits don't hold it.
        """
        if -8 <= value <= 15:
            self.out.append(0xE0 + value)
        elif -2048 <= value <= 2047:
            self.out += bytes((0xF8 + (value >> 8), value & 0xFF))
        elif -262144 <= value <= 262143:
            self.out.append(0x3C + (value >> 16))
            self.out += (value & 0xFFFF).to_bytes(2, "big")
        elif -(2**31) <= value < 2**31:
            self.out.append(0x59)
            self.out += _FOUR_BYTES.pack(value)
        elif -(2**63) <= value < 2**63:
            self.out += b"L"
            self.out += _EIGHT_BYTES.pack(value)
        else:
            text = f"{_short(value)} does not fit into a Java long; send it as text."
            raise HessianError(text)

    def double(self, value: float) -> None:
        """Write a double; the long form, which every reader reads in the same way."""
        self.out += b"D"
        self.out += _DOUBLE.pack(value)

    def string(self, value: str) -> None:
        """Write text, each UTF-16 unit in up to three bytes (CESU-8)."""
        length = len(value)
        if length < 32 and value.isascii():
            out = self.out
            out.append(length)
            out += value.encode("ascii")
            return
        units = value if value.isascii() else _ASTRAL.sub(_as_surrogates, value)
        begin = 0
        while len(units) - begin > CHUNK_UNITS:
            end = begin + CHUNK_UNITS
            if ord(units[end - 1]) in _HIGH_SURROGATES:
                end -= 1  # Java's reader joins no halves of two chunks
            self.out += b"R"
            self.out += _TWO_BYTES.pack(end - begin)
            self.out += units[begin:end].encode("utf-8", "surrogatepass")
            begin = end
        self._head(len(units) - begin, 0x00, 32, 0x30, 0x53)
        self.out += units[begin:].encode("utf-8", "surrogatepass")

    def binary(self, value: bytes | bytearray | memoryview) -> None:
        """Write bytes."""
        raw = bytes(value)
        begin = 0
        while len(raw) - begin > CHUNK_UNITS:
            self.out += b"A"
            self.out += _TWO_BYTES.pack(CHUNK_UNITS)
            self.out += raw[begin : begin + CHUNK_UNITS]
            begin += CHUNK_UNITS
        self._head(len(raw) - begin, 0x20, 16, 0x34, 0x42)
        self.out += raw[begin:]

    def _head(self, length: int, short: int, shorts: int, middle: int, final: int) -> None:
        if length < shorts:
            self.out.append(short + length)
        elif length < 1024:
            self.out.append(middle + (length >> 8))
            self.out.append(length & 0xFF)
        else:
            self.out.append(final)
            self.out += _TWO_BYTES.pack(length)

    def date(self, value: datetime) -> None:
        """Write a moment, in milliseconds.

        Raises: HessianError: it has no time zone, so it is no moment.
        """
        if value.tzinfo is None:
            text = f"The datetime {value} has no time zone; give it one (datetime.now(UTC))."
            raise HessianError(text)
        milliseconds = (value - _EPOCH) // _MS
        if milliseconds % MS_PER_MINUTE == 0 and abs(milliseconds // MS_PER_MINUTE) < 2**31:
            self.out.append(0x4B)
            self.out += _FOUR_BYTES.pack(milliseconds // MS_PER_MINUTE)
        else:
            self.out.append(0x4A)
            self.out += _EIGHT_BYTES.pack(milliseconds)

    def sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        """Write a list without a type: Java reads an ArrayList."""
        if self._begin(value):
            if len(value) < 8:
                self.out.append(0x78 + len(value))
            else:
                self.out.append(0x58)
                self.number(len(value))
            self._all(value)

    def array(self, value: JavaArray) -> None:
        """Write a list with a type."""
        if self._begin(value):
            if len(value.items) < 8:
                self.out.append(0x70 + len(value.items))
                self._type(value.type)
            else:
                self.out += b"V"
                self._type(value.type)
                self.number(len(value.items))
            self._all(value.items)

    def mapping(self, value: dict[Any, Any]) -> None:
        """Write a map without a type: Java reads a HashMap."""
        if self._begin(value):
            self.out += b"H"
            self._all(part for item in value.items() for part in item)
            self.out += b"Z"

    def object(self, value: JavaObject) -> None:
        """Write an object, its class's definition before the first one."""
        if not self._begin(value):
            return
        definition = (value.class_name, *value.fields)
        number = self._definitions.get(definition)
        if number is None:
            _check_names(definition)
            number = self._definitions[definition] = len(self._definitions)
            self.out += b"C"
            self.string(value.class_name)
            self.number(len(value.fields))
            for name in value.fields:
                self.string(name)
        if number < 16:
            self.out.append(0x60 + number)
        else:
            self.out += b"O"
            self.number(number)
        self._all(value.fields.values())

    def decimal(self, value: Decimal) -> None:
        """Write a BigDecimal.

        Raises: HessianError: it is no number.
        """
        if not value.is_finite():
            text = f"{value} is no number; a BigDecimal is."
            raise HessianError(text)
        self.object(JavaObject("java.math.BigDecimal", {"value": str(value)}))

    def _begin(self, container: Any) -> bool:
        """Number a container. False: it is there already, and a reference to it was written."""
        known = self._numbers.get(id(container))
        if known is not None:
            self.out.append(0x51)
            self.number(known)
            return False
        self._numbers[id(container)] = self._first_number + len(self._numbers)
        self._kept.append(container)
        return True

    def _all(self, values: Iterable[Any]) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            text = f"More than {MOST_DEPTH} lists, maps and objects are inside each other."
            raise HessianError(text)
        for value in values:
            self.write(value)
        self._depth -= 1

    def _type(self, name: str) -> None:
        number = self._types.get(name)
        if number is None:
            self._types[name] = len(self._types)
            self.string(name)
        else:
            self.number(number)


def _check_names(definition: tuple[str, ...]) -> None:
    wrong = [name for name in definition if not isinstance(name, str)]
    if wrong:
        text = f"The class and the fields of a JavaObject are named by str, not {_short(wrong[0])}."
        raise HessianError(text)


def _as_surrogates(match: re.Match[str]) -> str:
    number = ord(match[0]) - 0x10000
    return chr(0xD800 + (number >> 10)) + chr(0xDC00 + (number & 0x3FF))


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**200 else "This number"
    return text if len(text) <= 80 else f"{text[:77]}..."


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_WRITERS: dict[type, Callable[[Writer, Any], None]] = {
    type(None): Writer.null,
    bool: Writer.boolean,
    JavaLong: Writer.long,
    int: Writer.number,
    float: Writer.double,
    str: Writer.string,
    bytes: Writer.binary,
    bytearray: Writer.binary,
    memoryview: Writer.binary,
    datetime: Writer.date,
    JavaArray: Writer.array,
    list: Writer.sequence,
    tuple: Writer.sequence,
    dict: Writer.mapping,
    JavaObject: Writer.object,
    Decimal: Writer.decimal,
}
"""In this order for subclasses: a bool is an int, and so is a JavaLong."""
