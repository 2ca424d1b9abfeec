"""One call and its tries: whom it asks, when it asks again, how long it waits.

Runs in: any process, on its loop.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from tornado_multi.dubbo.errors import (
    BusyError,
    DubboError,
    NotSentError,
    OutcomeUnknownError,
    OverloadedError,
    RefusedError,
    RemoteError,
    UnreachableError,
)
from tornado_multi.dubbo.resolving import FixedAddresses, Resolver
from tornado_multi.dubbo.sockets import CLOSED
from tornado_multi.dubbo.standing import Standing, choose

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.endpoints import Endpoint
    from tornado_multi.dubbo.live import Live, Where
    from tornado_multi.dubbo.options import Options

T = TypeVar("T")
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 0.5


class _Waits:
    """The pauses of one call while nobody can be reached: each longer than the one before."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, patience_s: float, deadline_s: float
    ) -> None:
        self._loop = loop
        self._patience_s = patience_s
        self._deadline_s = deadline_s
        self._next_s = FIRST_WAIT_S

    async def may_go_on(self, since_s: float) -> bool:
        """Pause, and tell whether to look again. Args: since_s: when everybody was gone."""
        now_s = self._loop.time()
        if now_s - since_s >= self._patience_s or now_s + self._next_s >= self._deadline_s:
            return False
        await asyncio.sleep(self._next_s * (0.5 + 0.5 * random.random()))  # noqa: S311 - spreads load
        self._next_s = min(LONGEST_WAIT_S, 2 * self._next_s)
        return True


class Trying:
    """Asks providers for one client."""

    def __init__(self, resolver: Resolver, options: Options) -> None:
        self._resolver = resolver
        self._options = options

    async def ask(
        self,
        live: Live,
        ask: Callable[[Endpoint, float], Awaitable[T]],
        where: Where,
        name: str,
        *,
        is_idempotent: bool,
        patience_s: float | None = None,
    ) -> T:
        """Ask one provider after the other, as long as that can't do anything twice."""
        patience_s = self._options.patience_s if patience_s is None else patience_s
        deadline_s = live.loop.time() + self._options.total_timeout_s
        waits = _Waits(live.loop, patience_s, deadline_s)
        tried: set[Address] = set()
        tries_left = self._options.retries
        while True:
            try:
                addresses = await self._addresses(where, deadline_s, name)
                live.unknown_since_s.pop(where, None)
            except UnreachableError:
                if not await waits.may_go_on(live.unknown_since(where)):
                    raise
                continue
            if live.is_closed:
                raise NotSentError(f"{name} is not called: {CLOSED}.")
            standings = live.standings_of(addresses, self._options)
            address = choose(standings, tried, live.loop.time(), random.random)
            left_s = deadline_s - live.loop.time()
            try:
                refuse_if_long_gone(standings, address, live.loop.time(), patience_s, name)
                return await self._once(live, address, ask, left_s)
            except BusyError:
                raise  # it has waited long enough
            except NotSentError:
                if live.is_closed:
                    raise
                if tried | {address} >= standings.keys():
                    since_s = max(item.unreachable_since_s or 0.0 for item in standings.values())
                    if not await waits.may_go_on(since_s):
                        raise
            except DubboError as error:
                again = is_safe_to_repeat(error, is_idempotent=is_idempotent) and tries_left
                if not again or live.is_closed or live.loop.time() >= deadline_s:
                    raise
                tries_left -= 1
            tried.add(address)

    async def _addresses(self, where: Where, deadline_s: float, name: str) -> Sequence[Address]:
        """Return who may be called. Raises: UnreachableError: nobody is known in time."""
        if isinstance(self._resolver, FixedAddresses):
            return await self._resolver.resolve(*where)
        limit = asyncio.timeout_at(deadline_s)
        try:
            async with limit:
                addresses = await self._resolver.resolve(*where)
        except TimeoutError:
            if not limit.expired():
                raise
            text = (
                f"{self._resolver!r} does not say where within {self._options.total_timeout_s:g} s."
            )
            raise UnreachableError(f"{name}: {text}") from None
        if not addresses:
            raise UnreachableError(f"{name}: {self._resolver!r} knows no provider.")
        return addresses

    async def _once(
        self,
        live: Live,
        address: Address,
        ask: Callable[[Endpoint, float], Awaitable[T]],
        left_s: float,
    ) -> T:
        """Ask one provider, and note how it did."""
        standing = live.standings[address]
        standing.active += 1
        try:
            answer = await ask(live.endpoints[address], left_s)
        except BusyError:
            raise
        except NotSentError as error:
            standing.was_unreachable(live.loop.time(), str(error), random.random)
            raise
        except OutcomeUnknownError as error:
            standing.left_in_doubt(live.loop.time(), str(error), random.random)
            raise
        except (RemoteError, RefusedError):
            standing.answered()
            raise
        finally:
            standing.active -= 1
        standing.answered()
        return answer


def refuse_if_long_gone(
    standings: Mapping[Address, Standing],
    chosen: Address,
    now_s: float,
    patience_s: float,
    name: str,
) -> None:
    """Fail a call at once whose providers have all been away for long and are not looked for now.

    Raises: UnreachableError: says of each since when and why.
    """
    since_s = standings[chosen].unreachable_since_s
    if since_s is None or not standings[chosen].is_paused(now_s) or now_s - since_s < patience_s:
        return
    reasons = [
        f"for {now_s - item.unreachable_since_s:.1f} s: {item.reason}"
        for item in standings.values()
        if item.unreachable_since_s is not None
    ]
    raise UnreachableError(f"{name}: no provider has been reachable, {'; '.join(reasons)}")


def is_safe_to_repeat(error: DubboError, *, is_idempotent: bool) -> bool:
    """Tell whether a call that failed so can be tried again without being done twice unasked."""
    if isinstance(error, OverloadedError):
        return True
    return is_idempotent and isinstance(error, OutcomeUnknownError)
