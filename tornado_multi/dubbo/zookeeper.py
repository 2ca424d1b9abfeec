"""Providers as ZooKeeper knows them, kept up to date by watches (extra ``zookeeper``: kazoo).

Runs in: any process, on its loop; kazoo has threads of its own, started by the first call in each
process, so that none crosses a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.errors import UnreachableError
from tornado_multi.dubbo.registry import addresses_of
from tornado_multi.process.linux import keep_for_ever
from tornado_multi.resources import lives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tornado_multi.dubbo.addresses import Address


@dataclass(slots=True)
class _Service:
    """What is known of one service."""

    entries: tuple[str, ...] = ()
    is_known: asyncio.Event = field(default_factory=asyncio.Event)
    chosen: dict[tuple[str, str | None], tuple[Address, ...]] = field(default_factory=dict)
    """version and group -> addresses, for the entries of now"""


@dataclass(slots=True)
class _Live:
    """What there is in one process, on one loop."""

    epoch: int
    loop: asyncio.AbstractEventLoop
    client: Any
    starting: asyncio.Future[Any]
    services: dict[str, _Service] = field(default_factory=dict)


class ZooKeeperAddresses:
    """A resolver for ``DubboClient``: the providers below ``/dubbo/<service>/providers``.

    While ZooKeeper can't be reached, what it said last is used.

    Args:
        hosts: as kazoo takes them: ``"10.0.0.1:2181,10.0.0.2:2181"``.
        root: the first part of the path; Dubbo's ``group`` of the registry.
        timeout_s: for the first answer of ZooKeeper.

    Raises: ImportError: kazoo is not installed; the message names the extra.
    """

    def __init__(self, hosts: str, *, root: str = "/dubbo", timeout_s: float = 10.0) -> None:
        try:
            import kazoo.client
        except ImportError as error:
            text = "Discovery by ZooKeeper needs kazoo: pip install 'tornado-multi[zookeeper]'."
            raise ImportError(text) from error
        self._make = kazoo.client.KazooClient
        self._hosts = hosts
        self._root = root.rstrip("/")
        self._timeout_s = timeout_s
        self._live: _Live | None = None
        lives.watch_forks()

    def __repr__(self) -> str:
        return f"<ZooKeeperAddresses {self._hosts}{self._root}>"

    async def resolve(self, service: str, version: str, group: str | None) -> Sequence[Address]:
        """Return the addresses. Raises: UnreachableError: there is none, or ZooKeeper is silent."""
        live = self._here()
        known = live.services.get(service)
        if known is None or not known.is_known.is_set():
            known = await self._learn(live, service)
        addresses = known.chosen.get((version, group))
        if addresses is None:
            addresses = addresses_of(known.entries, version, group)
            known.chosen[version, group] = addresses
        if not addresses:
            text = (
                f"ZooKeeper at {self._hosts} has {len(known.entries)} providers of {service}, none "
                f"of them for version {version}, group {group or '(none)'}, protocol dubbo."
            )
            raise UnreachableError(text)
        return addresses

    async def close(self) -> None:
        """Leave ZooKeeper, and end kazoo's threads."""
        live, self._live = self._live, None
        if live is not None and live.epoch == lives.epoch():
            with contextlib.suppress(Exception):
                await live.starting
            await asyncio.to_thread(_end, live.client)

    def _here(self) -> _Live:
        loop, live = asyncio.get_running_loop(), self._live
        if live is not None and live.epoch == lives.epoch() and live.loop is loop:
            return live
        keep_for_ever(live)  # its threads are another process's, and it waits for them when it ends
        client = self._make(hosts=self._hosts)
        starting = loop.run_in_executor(None, lambda: client.start(self._timeout_s))
        self._live = _Live(lives.epoch(), loop, client, starting)
        return self._live

    async def _learn(self, live: _Live, service: str) -> _Service:
        """Wait for the first list of a service's providers."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(live.starting)
                if service not in live.services:
                    live.services[service] = _Service()
                    await asyncio.to_thread(self._watch, live, service)
                await live.services[service].is_known.wait()
        except Exception as error:
            known = live.services.get(service)
            if known is not None and not known.is_known.is_set():
                del live.services[service]  # it may not be watched
            if live.starting.done() and live.starting.exception() is not None:
                self._live = None if self._live is live else self._live  # the next call tries anew
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(_end, live.client)
            text = f"ZooKeeper at {self._hosts} can't be asked: {type(error).__name__}: {error}."
            raise UnreachableError(text) from error
        return live.services[service]

    def _watch(self, live: _Live, service: str) -> None:
        """Have kazoo tell of each change. Runs on a thread of the executor."""
        path = f"{self._root}/{service}/providers"
        live.client.ensure_path(path)

        def changed(entries: list[str]) -> None:  # on a thread of kazoo
            with contextlib.suppress(RuntimeError):  # the loop is closed
                live.loop.call_soon_threadsafe(_update, live.services[service], tuple(entries))

        live.client.ChildrenWatch(path, changed)


def _update(known: _Service, entries: tuple[str, ...]) -> None:
    known.entries = entries
    known.chosen.clear()
    known.is_known.set()


def _end(client: Any) -> None:
    client.stop()
    client.close()
