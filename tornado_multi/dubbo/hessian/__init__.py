"""Hessian 2 as Dubbo speaks it (hessian-lite 3.2.13): values to bytes and back, without I/O.

| Java | Python |
| - | - |
| null, boolean | None, bool |
| byte, short, int, long | int: int if 32 bits hold it, else long; ``JavaLong`` is always a long |
| float, double | float |
| String, char | str |
| byte[] | bytes |
| Date | datetime with a time zone; read as UTC |
| List, Set, Object[] | list (also read from typed ones); written with a type by ``JavaArray`` |
| Map | dict |
| BigDecimal, BigInteger, UUID | Decimal (written and read), int, uuid.UUID (read) |
| any other object | ``JavaObject`` |
"""

from __future__ import annotations

from tornado_multi.dubbo.hessian.reader import Reader, decode
from tornado_multi.dubbo.hessian.values import HessianError, JavaArray, JavaLong, JavaObject
from tornado_multi.dubbo.hessian.writer import Start, Writer, encode

__all__ = [
    "HessianError",
    "JavaArray",
    "JavaLong",
    "JavaObject",
    "Reader",
    "Start",
    "Writer",
    "decode",
    "encode",
]
