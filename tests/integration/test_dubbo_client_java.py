"""The Dubbo client against real providers of each version."""

from __future__ import annotations

import asyncio
import os
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
from support.accounts_in_python import Accounts
from support.java_providers import MODULES, JavaProvider

from tornado_multi import DubboClient
from tornado_multi.dubbo import errors
from tornado_multi.testing.dubbo import DIALECTS, DubboProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.process

OLD, MIDDLE, NEW = MODULES
CALLS_UNDER_WAY = 50
NUMBERS = int(os.environ.get("DUBBO_CALLS", "3000"))
"""``make soak`` has more."""


def run(
    provider: JavaProvider, protocol: str, steps: Callable[[DubboClient], Awaitable[Any]]
) -> Any:
    """Run steps with a client of their own, in the provider's network."""
    port = provider.qos_port if protocol == "qos" else provider.port

    async def main() -> Any:
        async with DubboClient(provider.host, port, protocol=protocol) as client:
            return await steps(client)

    return provider.network.run_async(main)


@pytest.mark.parametrize(
    ("java_provider", "protocol"),
    [
        (version, protocol)
        for version in MODULES
        for protocol in ("dubbo", "qos" if version == NEW else "telnet")
    ],
    indirect=["java_provider"],
)
def test_every_call_and_every_failure(java_provider: JavaProvider, protocol: str) -> None:
    """Results and errors are those of the table, over each protocol that a version has."""

    async def steps(client: DubboClient) -> None:
        if (java_provider.dubbo, protocol) != (NEW, "dubbo"):
            assert [SERVICE] == await client.ls()
        await keep_the_contract(client, "" if protocol == "dubbo" else java_provider.dubbo)

    run(java_provider, protocol, steps)


@pytest.mark.parametrize(
    ("dialect", "version"),
    [("", ""), ("2.6.12", OLD), ("2.7.23", MIDDLE), ("3.0.1", MIDDLE), ("3.3.1 qos", NEW)],
)
def test_the_provider_in_python_keeps_the_same_contract(dialect: str, version: str) -> None:
    """Else what is tested against it would prove little."""
    made = DubboProvider({SERVICE: Accounts()}, dialect=DIALECTS[dialect] if dialect else None)
    protocol = "dubbo" if not dialect else "qos" if made.dialect.is_qos else "telnet"

    async def main() -> None:
        async with DubboClient(made.address, protocol=protocol) as client:
            assert [SERVICE] == await client.ls()
            await keep_the_contract(client, version)

    with made:
        asyncio.run(main())


async def keep_the_contract(client: DubboClient, text_version: str) -> None:
    """Make every call of the table and every failure."""
    is_binary = client.protocol == "dubbo"
    await client.ping()
    for case in CALLS if is_binary else TEXT_CALLS:
        value = (await client.call(case.call())).value

        assert TEXT_BY_VERSION.get((text_version, case.name), case.returned) == value, case.name
    for failing in FAILURES if is_binary else TEXT_FAILURES:
        with pytest.raises(errors.DubboError) as caught:
            await client.call(failing.call)
        failing.check(caught.value)


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


@pytest.mark.parametrize("dubbo", MODULES)
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_provider_is_ended_and_comes_back(dubbo: str, how: str) -> None:
    """Calls in flight at that moment fail, each with its error; all others are answered rightly.

    By force, and as an operator does it; one that ends accepts connections and closes them for a
    while, which costs nobody a call.
    """
    with JavaProvider(dubbo) as provider:
        end = getattr(provider, how)
        counted = provider.network.run_async(
            lambda: call_through_restart(provider, end), within_s=900
        )

    for counts in counted:
        assert {"right", "OutcomeUnknownError"} >= counts.keys()
        assert CALLS_UNDER_WAY >= counts["OutcomeUnknownError"], counts
        assert NUMBERS == counts.total()


async def call_through_restart(
    provider: JavaProvider, end: Callable[[], None]
) -> list[Counter[str]]:
    """Call in binary and in text at once, while the provider is started anew; count what came."""
    patience = {"total_timeout_s": 60.0, "patience_s": 60.0}
    is_new = provider.dubbo == NEW
    text_address = f"{provider.host}:{provider.qos_port if is_new else provider.port}"
    a_third_is_done = asyncio.Event()
    async with (
        DubboClient(provider.host, provider.port, **patience) as binary,
        DubboClient(text_address, protocol="qos" if is_new else "telnet", **patience) as text,
    ):
        counting = [
            asyncio.ensure_future(add_many(binary, ("long", "long"), a_third_is_done)),
            asyncio.ensure_future(add_many(text, None, a_third_is_done)),
        ]
        await a_third_is_done.wait()
        await asyncio.to_thread(end)
        await asyncio.to_thread(provider.restart)
        return await asyncio.gather(*counting)


async def add_many(
    client: DubboClient, types: tuple[str, ...] | None, a_third_is_done: asyncio.Event
) -> Counter[str]:
    """Call ``addLongs`` for each number, many at a time."""
    counts: Counter[str] = Counter()
    numbers = iter(range(NUMBERS))

    async def caller() -> None:
        for number in numbers:
            if number == NUMBERS // 3:
                a_third_is_done.set()
            try:
                value = await client.invoke(SERVICE, "addLongs", number, 1, types=types)
            except errors.DubboError as error:
                counts[type(error).__name__] += 1
            else:
                counts["right" if value == number + 1 else "mixed up"] += 1

    await asyncio.gather(*(caller() for _ in range(CALLS_UNDER_WAY)))
    return counts


@pytest.mark.parametrize("protocol", ["dubbo", "text"])
def test_a_large_reply_is_one_error_and_the_next_call_is_answered(
    java_provider: JavaProvider, protocol: str
) -> None:
    """20 MB against the client's limit of 16 MiB; the provider's own limit is higher here."""
    if protocol == "text":
        protocol = "qos" if java_provider.dubbo == NEW else "telnet"

    async def steps(client: DubboClient) -> None:
        service = client.service(SERVICE)
        with pytest.raises(errors.BadReplyError, match="16777216"):
            await service.big(20_000_000, timeout_s=30)
        assert 1_000_000 == len(await service.big(1_000_000))

    run(java_provider, protocol, steps)


@pytest.mark.parametrize("java_provider", [NEW], indirect=True)
def test_text_that_fails_says_nothing_against_calls(java_provider: JavaProvider) -> None:
    """A port that gives no prompt may well take calls, and those don't wait for it."""

    async def steps(client: DubboClient) -> None:
        for _ in range(3):
            with pytest.raises(errors.DubboError):
                await client.ls()
            assert 3 == await client.invoke(SERVICE, "add", 1, 2)

    run(java_provider, "dubbo", steps)
