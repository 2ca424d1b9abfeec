"""Hessian 2: bytes as Java writes them, round trips of all types, and hostile bytes."""

from __future__ import annotations

import contextlib
import math
import os
import random
import resource
import struct
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_multi.dubbo.hessian import (
    HessianError,
    JavaArray,
    JavaLong,
    JavaObject,
    Reader,
    Writer,
    decode,
    encode,
)
from tornado_multi.dubbo.hessian.values import MOST_DEPTH

# --- bytes ----------------------------------------------------------------------------------------

WRITTEN = [
    (None, "4e"),
    (True, "54"),
    (False, "46"),
    (-16, "80"),
    (47, "bf"),
    (-17, "c7ef"),
    (48, "c830"),
    (-2048, "c000"),
    (2047, "cfff"),
    (-2049, "d3f7ff"),
    (2048, "d40800"),
    (-262144, "d00000"),
    (262143, "d7ffff"),
    (262144, "4900040000"),
    (-262145, "49fffbffff"),
    (2**31 - 1, "497fffffff"),
    (2**31, "4c0000000080000000"),
    (-(2**31) - 1, "4cffffffff7fffffff"),
    (JavaLong(-8), "d8"),
    (JavaLong(15), "ef"),
    (JavaLong(16), "f810"),
    (JavaLong(-9), "f7f7"),
    (JavaLong(2047), "ffff"),
    (JavaLong(2048), "3c0800"),
    (JavaLong(-262144), "380000"),
    (JavaLong(262144), "5900040000"),
    (JavaLong(-(2**31)), "5980000000"),
    (2**63 - 1, "4c7fffffffffffffff"),
    (-0.0, "448000000000000000"),
    (1.5, "443ff8000000000000"),
    ("", "00"),
    ("hi", "026869"),
    ("é", "01c3a9"),
    ("😀", "02eda0bdedb880"),
    ("a" * 31, "1f" + "61" * 31),
    ("a" * 32, "3020" + "61" * 32),
    ("a" * 1023, "33ff" + "61" * 1023),
    ("a" * 1024, "530400" + "61" * 1024),
    ("a" * 0x8001, "528000" + "61" * 0x8000 + "0161"),
    (b"", "20"),
    (b"x" * 15, "2f" + "78" * 15),
    (b"x" * 16, "3410" + "78" * 16),
    (b"x" * 1024, "420400" + "78" * 1024),
    (b"x" * 0x8001, "418000" + "78" * 0x8000 + "2178"),
    (datetime(1998, 5, 8, 9, 51, 31, tzinfo=UTC), "4a000000d04b9284b8"),
    (datetime(1998, 5, 8, 9, 51, tzinfo=UTC), "4b00e3838f"),
    ([], "78"),
    ([1], "7991"),
    (list(range(8)), "58989091929394959697"),
    (JavaArray("[int", [0, 1]), "72045b696e749091"),
    (JavaArray("[int", [0] * 8), "56045b696e7498" + "90" * 8),
    ({}, "485a"),
    ({"a": 1}, "480161915a"),
    (JavaObject("a.B", {"x": 1}), "4303612e429101786091"),
]


@pytest.mark.parametrize(
    ("value", "expected"), WRITTEN, ids=[f"{value!r:.30}" for value, _ in WRITTEN]
)
def test_values_are_written_in_their_shortest_form(value: Any, expected: str) -> None:
    """As the table of the serialization says, at each of its edges."""
    assert expected == encode(value).hex()


READ = [
    ("5b", 0.0),
    ("5c", 1.0),
    ("5d80", -128.0),
    ("5e7fff", 32767.0),
    ("5f00002ffb", 12.283),
    ("4b00e3838f", datetime(1998, 5, 8, 9, 51, tzinfo=UTC)),
    ("4a000000d04b9284b8", datetime(1998, 5, 8, 9, 51, 31, tzinfo=UTC)),
    ("5505" + b"[long".hex() + "e0e15a", [0, 1]),
    ("57e0e15a", [0, 1]),
    ("5605" + b"[long".hex() + "92e0e1", [0, 1]),
    ("5892e0e1", [0, 1]),
    ("7205" + b"[long".hex() + "e0e1", [0, 1]),
    ("7ae0e1", [0, 1]),
    ("4d11" + b"java.util.TreeMap".hex() + "0161915a", {"a": 1}),
    ("4d03" + b"a.B".hex() + "0161915a", JavaObject("a.B", {"a": 1})),
    ("52000161" + "520001ed".replace("520001ed", "00"), "a"),
    ("520001eda0bd" + "01edb880", "😀"),
    ("01eda0bd", "\ud83d"),
]


@pytest.mark.parametrize(("data", "expected"), READ, ids=[data[:24] for data, _ in READ])
def test_forms_that_only_java_writes_are_read(data: str, expected: Any) -> None:
    """Short doubles, lists with types and without lengths, typed maps, halves of a character."""
    assert expected == decode(bytes.fromhex(data))


def test_definitions_and_types_are_shared() -> None:
    """A class is defined once, further objects name it; a type is written once, then its number."""
    values = [JavaObject("a.B", {"x": number}) for number in range(3)]
    arrays = [JavaArray("[int", [1]), JavaArray("[int", [2])]

    assert "7b4303612e42910178609060916092" == encode(values).hex()
    assert "7a71045b696e7491719092" == encode(arrays).hex()
    assert values == decode(encode(values))
    assert [[1], [2]] == decode(encode(arrays))


def test_more_than_sixteen_classes() -> None:
    """From the seventeenth on the number of the definition stands in an int of its own."""
    values = [JavaObject(f"a.B{number}", {"x": number}) for number in range(40)]

    assert values == decode(encode(values))


def test_references_keep_identity_and_circles() -> None:
    """Each list, map and object has a number, in the order of their starts."""
    shared: dict[str, Any] = {"k": 1}
    circle: list[Any] = [shared, [shared], JavaObject("a.B", {"m": shared})]
    circle.append(circle)
    read = decode(encode(circle))

    assert read[3] is read
    assert read[1][0] is read[0] is read[2].fields["m"]
    assert {"k": 1} == read[0]


def test_values_in_a_row_share_their_numbers() -> None:
    """As the arguments of a call do."""
    shared = [1]
    reader = Reader(encode(shared, "x", shared))
    first, _, second = reader.read(), reader.read(), reader.read()

    assert first is second
    assert reader.is_at_end()


# --- round trips ----------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters()),
    st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ),
)
NAMES = st.text(min_size=1, max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.dictionaries(st.one_of(st.text(), st.integers(-9, 9)), inner, max_size=20),
        st.builds(JavaObject, NAMES.map(lambda name: f"com.{name}"), st.dictionaries(NAMES, inner)),
    ),
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    """Everything that has a counterpart in Python comes back as it was."""
    assert value == decode(encode(value))


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_are_read_as_ints(value: int) -> None:
    """However small they are."""
    assert value == decode(encode(JavaLong(value)))


@given(st.integers(0x8000 - 21, 0x8000 + 1), st.text(st.characters(), min_size=1, max_size=20))
def test_long_text(length: int, end: str) -> None:
    """Round the size at which text is cut into chunks, which never parts a character."""
    assert "a" * length + end == decode(encode("a" * length + end))


@pytest.mark.parametrize("length", [0, 31, 32, 1023, 1024, 0x7FFF, 0x8000, 65535, 65536, 70000])
@pytest.mark.parametrize("character", ["a", "é", "你", "😀", "\ud800"])
def test_text_of_every_length_and_width(length: int, character: str) -> None:
    """Also a half of a surrogate pair, alone."""
    assert character * length == decode(encode(character * length))


def test_floats_keep_their_bits() -> None:
    """Minus zero, infinities and no number."""
    for value in (-0.0, math.inf, -math.inf, 5e-324):
        assert struct.pack(">d", value) == struct.pack(">d", decode(encode(value)))
    assert math.isnan(decode(encode(math.nan)))


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    """Read as UTC."""
    there = datetime(2026, 11, 25, 8, 0, tzinfo=timezone(timedelta(hours=8)))

    assert there == decode(encode(there))
    assert UTC is decode(encode(there)).tzinfo


# --- what has no form -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**63, "does not fit into a Java long"),
        (10**4000, "does not fit into a Java long"),
        (object(), "object can't be sent"),
        ({1, 2}, "set can't be sent"),
        (datetime(2026, 1, 1), "has no time zone"),  # noqa: DTZ001
        (Decimal("nan"), "is no number"),
    ],
)
def test_what_can_not_be_sent(value: Any, said: str) -> None:
    """A sentence that names it."""
    with pytest.raises(HessianError, match=said):
        encode([value])


def test_what_is_too_deep_is_refused_by_both_sides() -> None:
    """Python's own recursion limit is never met."""
    value: list[Any] = []
    for _ in range(MOST_DEPTH + 1):
        value = [value]
    with pytest.raises(HessianError, match="inside each other"):
        encode(value)
    with pytest.raises(HessianError, match="inside each other"):
        decode(b"\x79" * 100_000)


def test_the_caller_s_values_are_not_changed() -> None:
    """Nor are they kept."""
    value = {"a": [1, {"b": (2, 3)}]}
    writer = Writer()
    writer.write(value)

    assert {"a": [1, {"b": (2, 3)}]} == value


# --- hostile bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "58497fffffff",  # a list of 2^31 - 1
        "5105",  # a reference to nothing
        "7851" + "95",  # more than one value, and a reference out of range
        "4303612e42497fffffff",  # a class with 2^31 - 1 fields
        "60",  # an object of no class
        "537fff61",  # text that ends early
        "01f0",  # four-byte UTF-8
        "01c3",  # half a character
        "0180",  # a continuation without a beginning
        "4d90",  # the number of a type that there is not
        "4861",
        "48794e4e5a",  # a list as a key
        "5f00",
        "4a7fffffffffffffff",  # a date beyond all years
        "45",
        "",
    ],
)
def test_bytes_that_are_no_value(data: str) -> None:
    """An error of ours, whatever it is."""
    with pytest.raises(HessianError):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("first", range(256))
def test_no_byte_leads_into_endless_depth(first: int) -> None:
    """Neither alone in a row, nor with a number or a name between."""
    for unit in (bytes([first]), bytes([first, 0x01]), bytes([first, 0x91]), bytes([0x43, first])):
        try:
            Reader(unit * 3000).read()
        except HessianError:
            continue


def test_garbage_is_refused_or_read_and_nothing_else() -> None:
    """Random bytes, and values with random damage, in bounded time and memory; ``make soak`` has more.

    1. Nothing but HessianError is raised.
    2. No case takes longer than a second, and none more memory than a few times what was read.
    """
    seed = int(os.environ.get("FUZZ_SEED", "7"))
    fuzz(random.Random(seed), int(os.environ.get("FUZZ_CASES", "20000")))


def fuzz(source: random.Random, cases: int) -> None:
    """Read so many damaged values."""
    before_bytes = peak_bytes()
    seeds = [encode(value) for value, _ in WRITTEN if len(encode(value)) < 200]
    for _ in range(cases):
        if source.random() < 0.3:
            data = bytearray(source.randbytes(source.randrange(80)))
        else:
            data = bytearray(b"".join(source.choices(seeds, k=3)))
            for _ in range(source.randrange(1, 4)):
                data[source.randrange(len(data))] = source.randrange(256)
        begun_s = time.process_time()
        with contextlib.suppress(HessianError):
            reader = Reader(bytes(data))
            while not reader.is_at_end():
                reader.read()
        assert time.process_time() - begun_s < 1, data.hex()
    assert peak_bytes() - before_bytes < 64 * 2**20


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
