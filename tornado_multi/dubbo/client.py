"""The client: calls of services, balanced over their providers, from Tornado handlers or any loop.

Runs in: any process; what it holds open belongs to the process and loop of its first call there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tornado_multi.dubbo.addresses import DEFAULT_PORT
from tornado_multi.dubbo.blocking import BlockingClient
from tornado_multi.dubbo.errors import BadArgumentError
from tornado_multi.dubbo.invocation import Answer, Call
from tornado_multi.dubbo.live import Live
from tornado_multi.dubbo.names import NO_VERSION, check_method, check_service, locate_service
from tornado_multi.dubbo.options import Options
from tornado_multi.dubbo.resolving import FixedAddresses, Resolver
from tornado_multi.dubbo.service import Service
from tornado_multi.dubbo.telnet.commands import encode_command, encode_ls
from tornado_multi.dubbo.telnet.listings import parse_ls, parse_status
from tornado_multi.dubbo.text_endpoint import TextEndpoint
from tornado_multi.dubbo.trying import Trying
from tornado_multi.process.linux import keep_for_ever
from tornado_multi.resources import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tornado_multi.dubbo.addresses import Address
    from tornado_multi.dubbo.endpoints import Endpoint

T = TypeVar("T")


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
        self._trying = Trying(self._resolver, self._options)
        self._live: Live | None = None
        self._text: DubboClient | None = None
        """For what is asked in text although calls are binary."""
        lives.watch_forks()

    def __repr__(self) -> str:
        return f"<DubboClient {self._options.protocol} {self._resolver!r}>"

    @property
    def protocol(self) -> str:
        """``dubbo``, ``telnet`` or ``qos``."""
        return self._options.protocol

    def __del__(self) -> None:
        live: Live | None = getattr(self, "_live", None)  # there is none if making it failed
        if live is None or live.epoch != lives.epoch() or live.loop.is_closed():
            return
        live.loop.call_soon_threadsafe(live.close)  # heartbeats would keep its connections for ever
        warnings.warn(f"{self!r} was never closed.", ResourceWarning, source=self, stacklevel=2)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def service(self, name: str, *, version: str = NO_VERSION, group: str | None = None) -> Service:
        """Return a service whose methods can be called like Python's.

        Args: name: of the Java interface; ``group/interface:version`` says all three.
        Raises: BadArgumentError: *name* is none.
        """
        return Service(self, *locate_service(name, version, group))

    async def invoke(
        self,
        service: str,
        method: str,
        *args: Any,
        types: Sequence[str] | None = None,
        version: str = NO_VERSION,
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
        interface, version, group = locate_service(service, version, group)
        call = Call(
            interface,
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

        async def ask(endpoint: Endpoint, left_s: float) -> Answer:
            connect_s = min(self._options.connect_timeout_s, left_s)
            return await endpoint.call(call, min(each_s, left_s), connect_s)

        where = (call.service, call.version, call.group)
        name = f"{call.service}.{call.method}"
        return await self._trying.ask(self._here(), ask, where, name, is_idempotent=is_idempotent)

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

        async def ask(endpoint: Endpoint, left_s: float) -> None:
            connect_s = min(self._options.connect_timeout_s, left_s)
            await endpoint.ping(min(self._options.timeout_s, left_s), connect_s)

        await self._trying.ask(
            self._here(),
            ask,
            (service or "", "*", None),
            "ping",
            is_idempotent=True,
            patience_s=0.0,
        )

    async def close(self) -> None:
        """Close all connections; calls under way fail with OutcomeUnknownError."""
        live, self._live = self._live, None
        text, self._text = self._text, None
        if live is not None and live.epoch == lives.epoch():
            live.close()
        if text is not None:
            await text.close()
        await self._resolver.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

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
        async def ask(endpoint: Endpoint, left_s: float) -> T:
            assert isinstance(endpoint, TextEndpoint)
            connect_s = min(self._options.connect_timeout_s, left_s)
            timeout_s = min(self._options.timeout_s, left_s)
            return await endpoint.command(line, name, parse, timeout_s, connect_s)

        interface = check_service(service)["interface"] if service else ""
        return await self._trying.ask(
            self._here(), ask, (interface, "*", None), name, is_idempotent=True
        )

    def _here(self) -> Live:
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
        self._live = Live(lives.epoch(), loop)
        return self._live
