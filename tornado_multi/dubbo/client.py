"""The client: calls of services, balanced over their providers, from Tornado handlers or any loop.

Runs in: any process; what it holds open belongs to the process and loop of its first call there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tornado_multi.dubbo.addresses import DEFAULT_PORT
from tornado_multi.dubbo.blocking import BlockingClient
from tornado_multi.dubbo.endpoints import CLOSED, TextEndpoint, make_endpoint
from tornado_multi.dubbo.errors import (
    BadArgumentError,
    BusyError,
    DubboError,
    NotSentError,
    OutcomeUnknownError,
    OverloadedError,
    RefusedError,
    RemoteError,
    UnreachableError,
)
from tornado_multi.dubbo.invocation import Answer, Call
from tornado_multi.dubbo.names import check_method, check_service
from tornado_multi.dubbo.options import Options
from tornado_multi.dubbo.resolving import FixedAddresses, Resolver
from tornado_multi.dubbo.standing import Standing, choose
from tornado_multi.dubbo.telnet.commands import encode_command, encode_ls
from tornado_multi.dubbo.telnet.listings import parse_ls, parse_status
from tornado_multi.process.linux import keep_for_ever
from tornado_multi.resources import lives

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tornado_multi.dubbo.addresses import Address
from tornado_multi.dubbo.endpoints import BinaryEndpoint

T = TypeVar("T")
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 0.5
FORGOTTEN_AFTER_S = 600.0
"""A provider that no resolver has named for so long is let go when another one comes."""


@dataclass(slots=True)
class _Live:
    """What a client has in one process, on one loop."""

    epoch: int
    loop: asyncio.AbstractEventLoop
    endpoints: dict[Address, BinaryEndpoint | TextEndpoint] = field(default_factory=dict)
    standings: dict[Address, Standing] = field(default_factory=dict)
    is_closed: bool = False

    def standings_of(
        self, addresses: Sequence[Address], options: Options
    ) -> dict[Address, Standing]:
        """Return how the providers at these addresses have done; an endpoint opens nothing by itself."""
        now_s = self.loop.time()
        found = {}
        for address in addresses:
            standing = self.standings.get(address)
            if standing is None:
                self._forget(now_s)
                self.endpoints[address] = make_endpoint(address, options)
                standing = self.standings[address] = Standing()
            standing.named_s = now_s
            found[address] = standing
        return found

    def _forget(self, now_s: float) -> None:
        """Close the connections to providers that are gone: what a registry tells changes."""
        for address, standing in list(self.standings.items()):
            if not standing.active and now_s - standing.named_s > FORGOTTEN_AFTER_S:
                self.endpoints.pop(address).close()
                del self.standings[address]


class DubboClient:
    """Calls Dubbo services without Java: ``await client.service("com.example.Accounts").get(1)``.

    Make it anywhere, also before a fork: it holds nothing open until its first call, and then
    belongs to that process. One client serves any number of calls at once.

    Args:
        addresses: ``"host"``, ``"host:port"``, a list of such, or a ``Resolver``.
        port: for addresses without one (20880).
        protocol: ``"dubbo"`` (binary: many calls on one connection, types, attachments; needs no
            more than the service port), ``"telnet"`` (text on the service port of 2.x and up to
            3.0.1) or ``"qos"`` (text on the QoS port of 3.0.2 and later).
        connections: to each provider; binary 1, text 10.
        connect_timeout_s: for a connection, and for a free one in the pool.
        timeout_s: for the answer to one try. total_timeout_s: for a call with all its tries.
        retries: how many more tries a call has that a provider refused for want of threads, or that
            is idempotent and was left without an answer.
        patience_s: while no provider can be reached, calls wait for its return as long as it has
            been away for less than this; afterwards they fail at once. Nothing was sent then, so
            nothing is done twice.
        idle_s: a text connection unused for so long is closed; providers do so after 180 s.
        heartbeat_s: after a silence of this length a binary connection sends a heartbeat.
        most_call_bytes, most_reply_bytes: of one call, and of its answer.
        charset, prompt: of text: providers up to 2.5.8, and 2.6.0, use GBK; the prompt is learned.

    Raises: ValueError: an address or option is none. Nothing is looked up, so nothing else.
    """

    def __init__(
        self,
        addresses: str | Sequence[str | Address] | Resolver,
        port: int = DEFAULT_PORT,
        *,
        protocol: str = "dubbo",
        connections: int | None = None,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 5.0,
        total_timeout_s: float = 15.0,
        retries: int = 2,
        patience_s: float = 10.0,
        idle_s: float = 50.0,
        heartbeat_s: float = 60.0,
        most_call_bytes: int = 8 * 1024 * 1024,
        most_reply_bytes: int = 16 * 1024 * 1024,
        charset: str = "utf-8",
        prompt: str | None = None,
    ) -> None:
        if connections is None:
            connections = 1 if protocol == "dubbo" else 10
        self._options = Options(
            protocol=protocol,
            connections=connections,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            retries=retries,
            patience_s=patience_s,
            idle_s=idle_s,
            heartbeat_s=heartbeat_s,
            most_call_bytes=most_call_bytes,
            most_reply_bytes=most_reply_bytes,
            charset=charset,
            prompt=prompt,
        )
        if isinstance(addresses, str):
            addresses = [addresses]
        self._resolver: Resolver = (
            addresses if isinstance(addresses, Resolver) else FixedAddresses(addresses, port)
        )
        self._live: _Live | None = None
        self._text: DubboClient | None = None
        """For what is asked in text although calls are binary."""
        lives.watch_forks()

    def __repr__(self) -> str:
        return f"<DubboClient {self._options.protocol} {self._resolver!r}>"

    @property
    def protocol(self) -> str:
        """``dubbo``, ``telnet`` or ``qos``."""
        return self._options.protocol

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def service(self, name: str, *, version: str = "0.0.0", group: str | None = None) -> Service:
        """Return a service whose methods can be called like Python's.

        Raises: BadArgumentError: *name* is none.
        """
        return Service(self, check_service(name), version, group)

    async def invoke(
        self,
        service: str,
        method: str,
        *args: Any,
        types: Sequence[str] | None = None,
        version: str = "0.0.0",
        group: str | None = None,
        attachments: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        is_idempotent: bool = False,
    ) -> Any:
        """Call a method and return what it returns; objects are dicts with a key ``class``.

        Args:
            types: Java names of the parameters' types, such as ``long`` or ``java.lang.String``;
                needed for overloads. Binary only.
            attachments: go with the call. Binary only.
            timeout_s: for one try, in place of the client's.
            is_idempotent: doing it twice harms nobody, so a call without an answer is tried again.

        Raises: RemoteError: the method raised. RefusedError: the provider does not do it.
            NotSentError: no provider could be asked. OutcomeUnknownError: it may have been done.
            BadArgumentError: it can't be asked in this form.
        """
        call = Call(
            check_service(service),
            check_method(method),
            args,
            None if types is None else tuple(types),
            version,
            group,
            attachments or {},
        )
        answer = await self.call(call, timeout_s=timeout_s, is_idempotent=is_idempotent)
        return answer.value

    async def call(
        self, call: Call, *, timeout_s: float | None = None, is_idempotent: bool = False
    ) -> Answer:
        """Call a method and return value and attachments. Raises: as ``invoke`` does."""
        each_s = self._options.timeout_s if timeout_s is None else timeout_s
        if not each_s > 0:
            text = f"timeout_s is {timeout_s!r}; it is a number of seconds above 0."
            raise BadArgumentError(text)

        async def ask(endpoint: BinaryEndpoint | TextEndpoint, left_s: float) -> Answer:
            connect_s = min(self._options.connect_timeout_s, left_s)
            return await endpoint.call(call, min(each_s, left_s), connect_s)

        where = (call.service, call.version, call.group)
        name = f"{call.service}.{call.method}"
        return await self._try(ask, where, name, is_idempotent=is_idempotent)

    def blocking(self) -> BlockingClient:
        """Return this client for code without an event loop: scripts, threads, shells."""
        return BlockingClient(self)

    async def ls(self, service: str | None = None) -> list[str]:
        """Return the services of a provider, or the methods of one with their types.

        Asked in text, whatever the protocol: from 3.0.2 on only QoS answers, and lists services
        alone. Raises: RefusedError: this provider does not list them.
        """

        def parse(text: str) -> list[str]:
            return parse_ls(text, "ls", service)

        return await self._in_text()._command(encode_ls(service), "ls", service, parse)  # noqa: SLF001 - its like

    async def status(self) -> str:
        """Return what a provider says of itself: ``OK``, ``WARN`` or ``ERROR``.

        Asked in text. Raises: RefusedError: it does not say; QoS and 3.x don't.
        """

        def parse(text: str) -> str:
            return parse_status(text, "status")

        return await self._in_text()._command(encode_command("status"), "status", None, parse)  # noqa: SLF001 - its like

    async def ping(self, service: str | None = None) -> None:
        """Have a provider say that it lives: a check for ``per_process(health=...)``.

        Args: service: whose provider; a registry has to know it.
        Raises: DubboError: none does.
        """

        async def ask(endpoint: BinaryEndpoint | TextEndpoint, left_s: float) -> None:
            connect_s = min(self._options.connect_timeout_s, left_s)
            await endpoint.ping(min(self._options.timeout_s, left_s), connect_s)

        await self._try(ask, (service or "", "*", None), "ping", is_idempotent=True, patience_s=0.0)

    async def close(self) -> None:
        """Close all connections; calls under way fail with OutcomeUnknownError."""
        live, self._live = self._live, None
        text, self._text = self._text, None
        if live is not None and live.epoch == lives.epoch():
            live.is_closed = True
            for endpoint in live.endpoints.values():
                if not live.loop.is_closed():  # else its connections end when they are collected
                    endpoint.close()
        if text is not None:
            await text.close()
        await self._resolver.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    # --- tries ------------------------------------------------------------------------------------

    def _in_text(self) -> DubboClient:
        """Return the client that speaks text with the same providers.

        Its own view of them: a port that speaks no text may well take calls.
        """
        if self._options.protocol != "dubbo":
            return self
        if self._text is None:
            options = dataclasses.asdict(self._options) | {"protocol": "telnet", "connections": 1}
            self._text = DubboClient(self._resolver, **options)
        return self._text

    async def _command(
        self, line: bytes, name: str, service: str | None, parse: Callable[[str], T]
    ) -> T:
        async def ask(endpoint: BinaryEndpoint | TextEndpoint, left_s: float) -> T:
            assert isinstance(endpoint, TextEndpoint)
            connect_s = min(self._options.connect_timeout_s, left_s)
            timeout_s = min(self._options.timeout_s, left_s)
            return await endpoint.command(line, name, parse, timeout_s, connect_s)

        return await self._try(ask, (service or "", "*", None), name, is_idempotent=True)

    async def _try(
        self,
        ask: Callable[[BinaryEndpoint | TextEndpoint, float], Awaitable[T]],
        where: tuple[str, str, str | None],
        name: str,
        *,
        is_idempotent: bool,
        patience_s: float | None = None,
    ) -> T:
        """Ask one provider after the other, as long as that can't do anything twice."""
        live = self._here()
        patience_s = self._options.patience_s if patience_s is None else patience_s
        deadline_s = live.loop.time() + self._options.total_timeout_s
        tried: set[Address] = set()
        tries_left = self._options.retries
        wait_s = FIRST_WAIT_S
        while True:
            addresses = await self._addresses(where, deadline_s, name)
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
                    now_s = live.loop.time()
                    if now_s - since_s >= patience_s or now_s + wait_s >= deadline_s:
                        raise
                    await asyncio.sleep(wait_s * (0.5 + 0.5 * random.random()))  # noqa: S311 - spreads load
                    wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
            except DubboError as error:
                again = is_safe_to_repeat(error, is_idempotent=is_idempotent) and tries_left
                if not again or live.is_closed or live.loop.time() >= deadline_s:
                    raise
                tries_left -= 1
            tried.add(address)

    async def _addresses(
        self, where: tuple[str, str, str | None], deadline_s: float, name: str
    ) -> Sequence[Address]:
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
        live: _Live,
        address: Address,
        ask: Callable[[BinaryEndpoint | TextEndpoint, float], Awaitable[T]],
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

    def _here(self) -> _Live:
        """Return what there is in this process on this loop; begin anew after a fork."""
        loop, live = asyncio.get_running_loop(), self._live
        if live is not None and live.loop is loop and live.epoch == lives.epoch():
            return live
        if live is not None and live.epoch != lives.epoch():
            for endpoint in live.endpoints.values():
                endpoint.sever()
            keep_for_ever(live)  # its transports would speak to a loop of another process
        elif live is not None and not live.loop.is_closed():
            text = (
                "This client belongs to another event loop, that of its first call; make one for "
                "each loop, or use client.blocking() from threads."
            )
            raise RuntimeError(text)
        self._live = _Live(lives.epoch(), loop)
        return self._live


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


class Service:
    """A service of a client: its methods are those of the Java interface.

    ``await service.getByAccountId(1)``; by name, for overloads and options: ``await
    service.getByAccountId(1, types=["long"], timeout_s=2)``.
    """

    def __init__(self, client: DubboClient, name: str, version: str, group: str | None) -> None:
        self._client = client
        self._name = name
        self._version = version
        self._group = group

    def __repr__(self) -> str:
        return f"<Service {self._name} of {self._client!r}>"

    async def invoke(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method by its name; options are those of ``DubboClient.invoke``."""
        return await self._client.invoke(
            self._name, method, *args, version=self._version, group=self._group, **options
        )

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("__") or method == "fileno":  # which many ask of any object
            raise AttributeError(method)
        return functools.partial(self.invoke, method)
