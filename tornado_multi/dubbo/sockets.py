"""What connections of both protocols do with their sockets. Runs in: any process, on its loop."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import TYPE_CHECKING, TypeVar, cast

from tornado_multi.dubbo.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado_multi.dubbo.addresses import Address

CLOSED = "the client was closed"
"""Why a connection ended, or a call was not sent."""
AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)
MOST_LOOKS = 4
"""At what has come, before a call goes out: the end may stand behind other bytes."""


async def connect(
    make: Callable[[], AnyProtocol], address: Address, timeout_s: float
) -> AnyProtocol:
    """Open a connection; a host of several numbers is tried at all of them.

    Raises: UnreachableError: it is refused, or does not come about within *timeout_s*.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, protocol = await loop.create_connection(make, *address)
    except TimeoutError:
        text = f"{address} can't be reached: no connection within {timeout_s:g} s."
        raise UnreachableError(text) from None
    except (OSError, ValueError, OverflowError) as error:  # a name or port may be none at all
        raise UnreachableError(f"{address} can't be reached: {_reason(error)}.") from error
    return protocol


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or not error.errno:
        return str(getattr(error, "strerror", None) or error)
    return os.strerror(error.errno)  # asyncio's own text names the address again


def has_something_to_read(transport: asyncio.Transport) -> bool:
    """Tell whether bytes or the end of the connection have come that the loop has not read yet.

    Costs a microsecond; without it a call would go out on what the provider closed a moment ago.
    """
    fd = _fd(transport)
    if fd < 0:
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLRDHUP)
    return bool(poller.poll(0))


async def let_the_loop_read(transport: asyncio.Transport) -> None:
    """Have the loop read what has come, if anything has, and tell of it.

    Each time it gets a turn of looking at its sockets, and another to tell of what it saw.
    """
    for _ in range(MOST_LOOKS):
        if transport.is_closing() or not has_something_to_read(transport):
            return
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def sever(transport: asyncio.Transport) -> None:
    """Make a connection that a fork has copied into this process harmless here.

    The copy of the socket is closed, not shut down, so the other process keeps its connection; the
    loop that watches it belongs to that process and is not told.
    """
    fd = _fd(transport)
    if fd < 0:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, fd, inheritable=False)
    os.close(null)


def _fd(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else cast("int", sock.fileno())
