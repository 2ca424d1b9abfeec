"""Records of one write each, from four processes into one file: none is torn, however it is open."""

from __future__ import annotations

import os
from collections.abc import Iterator

DIRECTORY = os.environ["FORK_BUG_DIRECTORY"]
SIZES = {200: 200, 20_000: 50, 200_000: 10}
"""Bytes of a record, and how many each process writes."""
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def path(name: str) -> str:
    return os.path.join(DIRECTORY, name)


INHERITED_APPEND = os.open(path("inherited_append"), APPEND)
INHERITED_WRITE = os.open(path("inherited_write"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
NAMES = ("own_append", "inherited_append", "inherited_write")


def records(index: int) -> Iterator[bytes]:
    for size, number in SIZES.items():
        for _ in range(number):
            yield str(index).encode() * (size - 1) + b"\n"


def in_child(index: int) -> None:
    for fd in (os.open(path("own_append"), APPEND), INHERITED_APPEND, INHERITED_WRITE):
        for record in records(index):
            assert os.write(fd, record) == len(record)


def in_parent() -> dict[str, dict[str, int]]:
    """Return per file how many records are there, and how many of them are torn."""
    found = {}
    for name in NAMES:
        with open(path(name), "rb") as file:
            lines = file.read().splitlines()
        torn = [line for line in lines if len(set(line)) != 1 or len(line) + 1 not in SIZES]
        found[name] = {"records": len(lines), "torn": len(torn)}
    return found
