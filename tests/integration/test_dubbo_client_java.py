"""The Dubbo client against real providers of each version."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.account_calls import (
    CALLS,
    FAILURES,
    SERVICE,
    TEXT_BY_VERSION,
    TEXT_CALLS,
    TEXT_FAILURES,
)
from support.java_providers import MODULES, JavaProvider

from tornado_multi import DubboClient
from tornado_multi.dubbo import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.process

OLD, MIDDLE, NEW = MODULES
CALLS_UNDER_WAY = 50
NUMBERS = 3000
PROTOCOLS = [
    pytest.param(version, protocol, id=f"{version}-{protocol}")
    for version in MODULES
    for protocol in ("dubbo", "qos" if version == NEW else "telnet")
]
both_protocols = pytest.mark.parametrize(
    ("java_provider", "protocol"), PROTOCOLS, indirect=["java_provider"]
)


def run(
    provider: JavaProvider,
    protocol: str,
    steps: Callable[[DubboClient], Awaitable[Any]],
    **options: Any,
) -> Any:
    """Run steps with a client of their own, in the provider's network."""
    port = provider.qos_port if protocol == "qos" else provider.port

    async def main() -> Any:
        async with DubboClient(provider.host, port, protocol=protocol, **options) as client:
            return await steps(client)

    return provider.network.run_async(main, within_s=120)


@both_protocols
def test_every_call_and_every_failure(java_provider: JavaProvider, protocol: str) -> None:
    """Results and errors are those of the table, over each protocol that a version has."""
    is_binary = protocol == "dubbo"

    async def steps(client: DubboClient) -> None:
        await client.ping()
        if (java_provider.dubbo, protocol) != (NEW, "dubbo"):
            assert [SERVICE] == await client.ls()
        for case in CALLS if is_binary else TEXT_CALLS:
            key = ("" if is_binary else java_provider.dubbo, case.name)
            value = (await client.call(case.call())).value

            assert TEXT_BY_VERSION.get(key, case.returned) == value, case.name
        for failing in FAILURES if is_binary else TEXT_FAILURES:
            with pytest.raises(errors.DubboError) as caught:
                await client.call(failing.call)
            failing.check(caught.value)

    run(java_provider, protocol, steps)


@pytest.mark.parametrize("java_provider", [NEW], indirect=True)
@pytest.mark.parametrize("protocol", ["dubbo", "telnet"])
def test_text_commands_that_a_version_no_longer_has(
    java_provider: JavaProvider, protocol: str
) -> None:
    """The provider is asked, and says no; that is no reason to think it gone."""

    async def steps(client: DubboClient) -> None:
        with pytest.raises(errors.NotAllowedError, match="does not have it"):
            await client.ls()
        await client.ping()

    run(java_provider, protocol, steps)


@pytest.mark.parametrize(("dubbo", "protocol"), PROTOCOLS)
def test_a_provider_is_killed_and_comes_back(dubbo: str, protocol: str) -> None:
    """Calls in flight at that moment fail, each with its error; all others are answered rightly.

    A process that is killed closes its connections before its listener, so that some who connect
    again at once are cut off a second time.
    """
    with JavaProvider(dubbo) as provider:
        counts = run(
            provider,
            protocol,
            lambda client: add_through_restart(client, provider, is_binary=protocol == "dubbo"),
            total_timeout_s=60,
            patience_s=60,
        )

    assert {"right", "OutcomeUnknownError"} >= counts.keys()
    assert 3 * CALLS_UNDER_WAY >= counts["OutcomeUnknownError"]
    assert NUMBERS == counts.total()


async def add_through_restart(
    client: DubboClient, provider: JavaProvider, *, is_binary: bool
) -> Counter[str]:
    """Call ``addLongs`` for each number, many at a time, while the provider is started anew."""
    counts: Counter[str] = Counter()
    types = ("long", "long") if is_binary else None
    numbers = iter(range(NUMBERS))
    restarts = []

    async def caller() -> None:
        for number in numbers:
            if number == NUMBERS // 3:
                restarts.append(asyncio.ensure_future(asyncio.to_thread(provider.restart)))
            try:
                value = await client.invoke(SERVICE, "addLongs", number, 1, types=types)
            except errors.DubboError as error:
                counts[type(error).__name__] += 1
            else:
                counts["right" if value == number + 1 else "mixed up"] += 1

    await asyncio.gather(*(caller() for _ in range(CALLS_UNDER_WAY)))
    await asyncio.gather(*restarts)
    return counts
