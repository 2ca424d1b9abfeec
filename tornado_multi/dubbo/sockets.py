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


class Connector:
    """Opens connections to one provider, until it is closed."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._attempts: set[asyncio.Timeout] = set()
        self.is_closed = False

    async def connect(self, make: Callable[[], AnyProtocol], timeout_s: float) -> AnyProtocol:
        """Open a connection; a host of several numbers is tried at all of them.

        Raises: UnreachableError: it is refused, does not come about within *timeout_s*, or ``close``
            came first.
        """
        self.refuse_if_closed()
        loop = asyncio.get_running_loop()
        attempt = asyncio.timeout(timeout_s)
        self._attempts.add(attempt)
        try:
            async with attempt:
                _, protocol = await loop.create_connection(make, *self._address)
        except TimeoutError:
            self.refuse_if_closed()
            text = f"{self._address} can't be reached: no connection within {timeout_s:g} s."
            raise UnreachableError(text) from None
        except (OSError, ValueError, OverflowError) as error:  # a name or port may be none at all
            text = f"{self._address} can't be reached: {_reason(error)}."
            raise UnreachableError(text) from error
        finally:
            self._attempts.discard(attempt)
        return protocol

    def refuse_if_closed(self) -> None:
        """Raises: UnreachableError: it is closed."""
        if self.is_closed:
            raise UnreachableError(f"{self._address} is not called: {CLOSED}.")

    def close(self) -> None:
        """Give up the attempts: a host that does not answer would hold them up."""
        self.is_closed = True
        for attempt in self._attempts:
            if not attempt.expired():
                attempt.reschedule(0.0)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or not error.errno:
        return str(getattr(error, "strerror", None) or error)
    return os.strerror(error.errno)  # asyncio's own text names the address again


def has_something_to_read(transport: asyncio.Transport) -> bool:
    """Tell whether bytes or the end of the connection have come that the loop has not read yet.

    Costs a microsecond; without it a call would go out on what the provider closed a moment ago.
    """
    fd = fileno(transport)
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
    fd = fileno(transport)
    if fd < 0:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, fd, inheritable=False)
    os.close(null)


def fileno(transport: asyncio.Transport | None) -> int:
    """Return its descriptor; -1: it has none any more, or not yet."""
    if transport is None:
        return -1
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else cast("int", sock.fileno())
