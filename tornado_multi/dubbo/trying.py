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


class _Tries:
    """What one call may still do: how often it may ask, and how long it may wait."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Options,
        patience_s: float,
        *,
        is_idempotent: bool,
    ) -> None:
        self._loop = loop
        self.patience_s = patience_s
        self._is_idempotent = is_idempotent
        self._left = options.retries
        self._next_s = FIRST_WAIT_S
        self.deadline_s = loop.time() + options.total_timeout_s
        self.tried: set[Address] = set()

    async def may_go_on(self, since_s: float) -> bool:
        """Pause, and tell whether to look again. Args: since_s: when everybody was gone."""
        return self._loop.time() - since_s < self.patience_s and await self._pause()

    async def may_ask_again(
        self, error: DubboError, address: Address, standings: Mapping[Address, Standing]
    ) -> bool:
        """Tell whether to ask once more after one has failed, at the moment to do it."""
        self.tried.add(address)
        has_asked_all = self.tried >= standings.keys()
        if isinstance(error, BusyError):
            return False  # it has waited long enough
        if isinstance(error, NotSentError):
            since_s = max(item.unreachable_since_s or 0.0 for item in standings.values())
            return not has_asked_all or await self.may_go_on(since_s)
        is_safe = is_safe_to_repeat(error, is_idempotent=self._is_idempotent)
        if not is_safe or not self._left or self._loop.time() >= self.deadline_s:
            return False
        self._left -= 1
        if isinstance(error, OverloadedError) and has_asked_all:
            return await self._pause()  # at once it would be refused again, and add to the load
        return True

    async def _pause(self) -> bool:
        """Pause, each time longer than before, and tell whether there is time to try again."""
        if self._loop.time() + self._next_s >= self.deadline_s:
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
        tries = _Tries(live.loop, self._options, patience_s, is_idempotent=is_idempotent)
        while True:
            try:
                addresses = await self._addresses(where, tries.deadline_s, name)
                live.unknown_since_s.pop(where, None)
            except UnreachableError:
                if not await tries.may_go_on(live.unknown_since(where)):
                    raise
                continue
            if live.is_closed:
                raise NotSentError(f"{name} is not called: {CLOSED}.")
            standings = live.standings_of(addresses, self._options)
            address = choose(standings, tries.tried, live.loop.time(), random.random)
            left_s = tries.deadline_s - live.loop.time()
            try:
                refuse_if_long_gone(standings, address, live.loop.time(), patience_s, name)
                return await self._once(live, address, ask, left_s)
            except DubboError as error:
                if live.is_closed or not await tries.may_ask_again(error, address, standings):
                    raise

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
