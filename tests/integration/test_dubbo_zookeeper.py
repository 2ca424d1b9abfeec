"""Providers that ZooKeeper knows: real ones register, the client finds them, and follows changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.java_providers import JavaProvider
from support.networks import OwnNetwork
from support.zookeeper_server import ZooKeeperServer

from tornado_multi import DubboClient
from tornado_multi.dubbo import errors
from tornado_multi.dubbo.zookeeper import ZooKeeperAddresses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = [pytest.mark.process, pytest.mark.slow]

ACCOUNTS = "com.example.AccountService"
DUBBO = "3.3.6"


@pytest.fixture
def network() -> Iterator[OwnNetwork]:
    with OwnNetwork() as network:
        yield network
        network.wait_empty()


def start(network: OwnNetwork, zookeeper: ZooKeeperServer, port: int) -> JavaProvider:
    return JavaProvider(
        DUBBO, network=network, port=port, qos=port + 1000,
        registry=f"zookeeper://{zookeeper.hosts}",
    )  # fmt: skip


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a fact without stopping the loop."""
    async with asyncio.timeout(60):
        while not await probe():  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0.02)


def test_providers_come_and_go_and_calls_follow(network: OwnNetwork) -> None:
    """A second one is called soon after it has registered; one that leaves is called no more.

    1. One provider is registered, a second one comes: both are found and called.
    2. The first one leaves, as an operator has it leave: no call fails.
    3. ZooKeeper itself is killed: what it said last is used, and calls go on; it comes back.
    4. The last provider goes: that there is none is said.
    """
    with ZooKeeperServer(network) as zookeeper, start(network, zookeeper, 20881) as first:

        async def steps() -> None:
            resolver = ZooKeeperAddresses(zookeeper.hosts)

            async def ports() -> set[int]:
                try:
                    found = await resolver.resolve(ACCOUNTS, "0.0.0", None)
                except errors.UnreachableError:
                    return set()
                return {address.port for address in found}

            def are(*wanted: int) -> Callable[[], Awaitable[bool]]:
                async def probe() -> bool:
                    return {*wanted} == await ports()

                return probe

            async with DubboClient(resolver) as client:
                service = client.service(ACCOUNTS)
                await until(are(20881))
                assert 3 == await service.add(1, 2)
                with pytest.raises(errors.UnreachableError, match="none of them for version 9"):
                    await client.invoke(ACCOUNTS, "add", 1, 2, version="9")
                second = await asyncio.to_thread(start, network, zookeeper, 20882)
                try:
                    await until(are(20881, 20882))
                    answers = [service.add(number, 0) for number in range(200)]
                    assert [*range(200)] == await asyncio.gather(*answers)

                    leaving = asyncio.create_task(asyncio.to_thread(first.stop))
                    number = 0
                    while not leaving.done():
                        assert number == await service.add(number, 0)
                        number += 1
                    await until(are(20882))

                    await asyncio.to_thread(zookeeper.kill)
                    for number in range(100):
                        assert number == await service.add(number, 0)
                    await asyncio.to_thread(zookeeper.start)
                    await until(are(20882))
                finally:
                    await asyncio.to_thread(second.close)
                await until(are())
                with pytest.raises(
                    errors.UnreachableError, match=r"has 0 providers of com\.example"
                ):
                    await service.add(1, 2)

        network.run_async(steps, within_s=240)


def test_a_zookeeper_that_is_not_there_is_said(network: OwnNetwork) -> None:
    """Within the time that was given, by name; when it is there, the next call finds it."""

    async def steps() -> None:
        resolver = ZooKeeperAddresses("127.0.0.1:2181", timeout_s=0.5)
        async with DubboClient(resolver) as client:
            with pytest.raises(
                errors.UnreachableError, match=r"ZooKeeper at 127\.0\.0\.1:2181 can't"
            ):
                await client.invoke(ACCOUNTS, "add", 1, 2)
            server = await asyncio.to_thread(ZooKeeperServer, network)
            try:

                async def knows_of_none() -> bool:
                    try:
                        await client.invoke(ACCOUNTS, "add", 1, 2)
                    except errors.UnreachableError as error:
                        return "has 0 providers" in str(error)
                    return False

                await until(knows_of_none)
            finally:
                await asyncio.to_thread(server.__exit__)

    network.run_async(steps, within_s=120)
