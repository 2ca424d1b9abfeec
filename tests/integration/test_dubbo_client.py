"""The Dubbo client against a provider in Python that has every fault a real one may have."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import eventually

from tornado_multi import DubboClient
from tornado_multi.dubbo import errors
from tornado_multi.dubbo.addresses import Address
from tornado_multi.dubbo.frames import heartbeat
from tornado_multi.testing.dubbo import DIALECTS, DubboProvider, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tornado_multi.dubbo.service import Service

ACCOUNTS = "com.example.AccountService"
TEXTS = [name for name, dialect in DIALECTS.items() if dialect.has_invoke and not dialect.is_qos]
QOS = [name for name, dialect in DIALECTS.items() if dialect.is_qos]
NASTY = [
    "",
    "dubbo>",
    'a "quoted" \\ one',
    "x\r\ndubbo>\r\nelapsed: 0 ms.\r\ndubbo>",
    "--no-prompt",
    "(a) ) b (",
    "a b  c",
    "\b \x1b[A \x7f \x00",
    "@",
]
CHINESE = ["账户", "你好 dubbo>", "诨a"]
BEYOND_GBK = ["aڻb", "\U0001f600"]


def client_of(provider: DubboProvider, version: str = "", **options: Any) -> DubboClient:
    if version:
        dialect = DIALECTS[version]
        options = {"protocol": "qos" if dialect.is_qos else "telnet", **options}
        options.setdefault("charset", dialect.charset)
    return DubboClient(provider.address, **options)


def run(
    provider: DubboProvider,
    steps: Callable[[Service], Coroutine[Any, Any, Any]],
    version: str = "",
    **options: Any,
) -> Any:
    """Run steps with a service of a client of their own."""

    async def main() -> Any:
        async with client_of(provider, version, **options) as client:
            return await steps(client.service(ACCOUNTS))

    return asyncio.run(main())


@contextlib.contextmanager
def served(version: str = "", **faults: Any) -> Iterator[DubboProvider]:
    dialect = DIALECTS[version] if version else None
    with DubboProvider(dialect=dialect, faults=Faults(**faults)) as provider:
        yield provider
        eventually(lambda: provider.connections == 0, about="the client has closed all")


async def until(probe: Callable[[], bool]) -> None:
    """Wait for a fact without stopping the loop."""
    async with asyncio.timeout(20):
        while not probe():  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0.005)


# --- values there and back ------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["", *TEXTS, *QOS])
def test_values_come_back_as_they_went(version: str) -> None:
    """Whatever is in strings ends nothing, injects nothing, and comes back; so do numbers."""
    values = [
        *NASTY,
        *CHINESE,
        0,
        -1,
        2**53 + 1,
        -(2**62),
        True,
        False,
        1.5,
        [],
        [1, "a"],
        {"k": "v"},
    ]
    if version not in ("2.5.3", "2.5.8"):
        values += BEYOND_GBK
    if not version or not DIALECTS[version].fails_at_null_arguments:
        values.append(None)

    async def steps(service: Service) -> list[Any]:
        return [await service.echo(value) for value in values]

    with served(version, split="random") as provider:
        assert values == run(provider, steps, version)


@pytest.mark.parametrize("version", ["", "2.6.12", "2.7.23", "3.3.1 qos"])
def test_replies_may_come_byte_by_byte(version: str) -> None:
    """Also where a character of several bytes, or the prompt, is split."""

    async def steps(service: Service) -> Any:
        return await service.getByAccountId(7), await service.nothing()

    with served(version, split="bytes") as provider:
        account, nothing = run(provider, steps, version)

    # Text brings no names of classes.
    named = {} if version else {"class": "com.example.Account"}
    assert {
        **named,
        "id": 7,
        "name": "Owner 7",
        "tags": ["demo", "账户"],
    } == account
    assert None is nothing


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_heartbeats_between_replies(version: str) -> None:
    """Ahead of a reply and right after it, they are no part of it."""

    async def steps(service: Service) -> list[Any]:
        return [await service.add(number, 1) for number in range(50)]

    with served(version, split="random", heartbeats=3) as provider:
        assert [*range(1, 51)] == run(provider, steps, version)


@pytest.mark.parametrize("version", ["", "2.6.12", "2.7.23"])
def test_many_calls_at_once_get_their_own_answers(version: str) -> None:
    """Answers come late, split and out of order; each reaches its caller."""

    async def steps(service: Service) -> list[Any]:
        return await asyncio.gather(*[service.getByAccountId(number) for number in range(500)])

    with served(version, split="random", delay_s=(0.0, 0.02)) as provider:
        accounts = run(provider, steps, version)
        accepted = provider.accepted

    assert [*range(500)] == [account["id"] for account in accounts]
    assert (10 if version else 1) >= accepted


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["", "2.6.12", "2.7.23", "3.3.1 qos"])
def test_errors_have_a_type_of_their_own_and_harm_nobody(version: str) -> None:
    """What raised, what there is not, what can't be asked: then the next call is answered."""

    async def steps(service: Service) -> list[BaseException]:
        client = service._client
        calls = [
            service.fail("no such account\r\ndubbo>\r\nelapsed: 0 ms."),
            service.noSuchMethod(1),
            service.add(1),
            client.invoke("com.example.Nothing", "get", 1),
            service.echo(float("nan")) if version else service.echo(1 << 70),
            service.echo(object()),
        ]
        failed = await asyncio.gather(*calls, return_exceptions=True)
        assert 3 == await service.add(1, 2)
        return [error for error in failed if isinstance(error, BaseException)]

    with served(version) as provider:
        found = run(provider, steps, version)

    kinds = [type(error).__name__ for error in found]
    assert [
        "RemoteError",
        "NoSuchMethodError",
        "NoSuchMethodError",
        "NoSuchServiceError",
        "BadArgumentError",
        "BadArgumentError",
    ] == kinds
    assert "java.lang.IllegalStateException" == found[0].class_name
    assert "no such account\r\ndubbo>\r\nelapsed: 0 ms." == found[0].message


@pytest.mark.parametrize("name", ["a b", "x(1)", "get\r\nshutdown", "", "1a", "é", "a.b"])
def test_names_can_not_hold_a_second_command(name: str) -> None:
    """They are refused before a connection is made."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.BadArgumentError):
            await service.invoke(name)

    with served("2.6.12") as provider:
        run(provider, steps, "2.6.12")
        assert 0 == provider.accepted


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_a_late_answer_never_reaches_another_call(version: str) -> None:
    """A call times out, its answer comes afterwards: the next calls get their own."""
    gate = threading.Event()

    class Slow:
        async def echo(self, value: Any) -> Any:
            if value == "late":
                await asyncio.get_running_loop().run_in_executor(None, gate.wait)
            return value

    async def steps(service: Service) -> None:
        with pytest.raises(errors.CallTimeoutError, match=r"no (answer|whole reply) from 127"):
            await service.echo("late", timeout_s=0.05)
        first = asyncio.create_task(service.echo("one"))
        await asyncio.sleep(0)
        gate.set()
        assert "one" == await first
        assert [*range(50)] == [await service.echo(number) for number in range(50)]

    dialect = DIALECTS[version] if version else None
    with DubboProvider({ACCOUNTS: Slow()}, dialect=dialect) as provider:
        run(provider, steps, version)


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_a_cancelled_call_leaves_nothing_behind(version: str) -> None:
    """Its answer is dropped; the others get theirs."""

    async def steps(service: Service) -> None:
        calls = [asyncio.create_task(service.getByAccountId(number)) for number in range(100)]
        await until(lambda: provider.requests >= 5)
        for call in calls[::2]:
            call.cancel()
        kept = await asyncio.gather(*calls[1::2])
        assert [*range(1, 100, 2)] == [account["id"] for account in kept]
        assert 3 == await service.add(1, 2)

    with served(version, delay_s=(0.0, 0.05)) as provider:
        run(provider, steps, version)


@pytest.mark.parametrize("version", ["", "2.6.12"])
@pytest.mark.parametrize("after_bytes", [0, 1, 5, 20])
def test_an_end_in_mid_reply_leaves_the_outcome_unknown(version: str, after_bytes: int) -> None:
    """It is not called twice; the next call, on a new connection, is answered."""
    calls = []

    class Counting:
        def get(self, number: int) -> str:
            calls.append(number)
            return "an answer that is long enough"

    async def steps(service: Service) -> None:
        with pytest.raises(errors.OutcomeUnknownError, match="ended"):
            await service.get(1)
        assert [1] == calls
        provider.faults = Faults()
        assert "an answer that is long enough" == await service.get(2)

    dialect = DIALECTS[version] if version else None
    faults = Faults(cut_after_bytes=after_bytes)
    with DubboProvider({ACCOUNTS: Counting()}, dialect=dialect) as provider:

        async def prepared(service: Service) -> None:
            await service.get(0)
            calls.clear()
            provider.faults = faults
            await steps(service)

        run(provider, prepared, version)


def test_what_is_idempotent_is_tried_again() -> None:
    """Only if the caller says so, and on another provider first."""

    async def main(bad: DubboProvider, good: DubboProvider) -> None:
        async with DubboClient([bad.address, good.address]) as client:
            service = client.service(ACCOUNTS)
            for number in range(20):
                assert number == await service.add(number, 0, is_idempotent=True)

    with served(cut_after_bytes=3) as bad, served() as good:
        asyncio.run(main(bad, good))
        assert 1 <= bad.accepted <= 20


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_too_large_a_reply_is_an_error_and_the_pool_is_well(version: str) -> None:
    """20 MB, over the limit of 16 MiB; the connection is given up, and the next call is answered."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.BadReplyError, match="bytes"):
            await service.big(20_000_000)
        assert 5_000_000 == len(await service.big(5_000_000))

    with served(version) as provider:
        run(provider, steps, version, timeout_s=30, total_timeout_s=60)


def test_too_large_a_reply_is_the_fault_of_its_call_alone() -> None:
    """Others on the same connection get their answers; the error names call and option."""

    async def steps(service: Service) -> None:
        calls = [service.echo("x" * 900), service.big(1_000_000), *map(service.echo, range(50))]
        long, large, *small = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(large, errors.BadReplyError)
        assert "AccountService.big: the answer has 10001" in str(large)
        assert "(most_reply_bytes)" in str(large)
        assert ["x" * 900, *range(50)] == [long, *small]
        assert 1 == provider.accepted

    with served(split="random", delay_s=(0.0, 0.01)) as provider:
        run(provider, steps, most_reply_bytes=1000)


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_too_large_a_call_is_refused_before_it_is_sent(version: str) -> None:
    """Of a longer line a provider would run the rest as a command."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.BadArgumentError, match="bytes"):
            await service.echo("x" * 1000)
        assert "x" * 700 == await service.echo("x" * 700)

    with served(version) as provider:
        run(provider, steps, version, most_call_bytes=1000)


def test_qos_refuses_what_its_port_would_drop_without_a_word() -> None:
    """Lines over 2048 bytes, escapes counted."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.BadArgumentError, match="QoS reads no more than 2048"):
            await service.echo("账" * 400)
        assert "账" * 100 == await service.echo("账" * 100)

    with served("3.3.1 qos") as provider:
        run(provider, steps, "3.3.1 qos")


# --- providers that are none, or not there --------------------------------------------------------


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Listen, and answer whatever comes by these bytes and an end."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


HTTP_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("protocol", "kind", "said"),
    [
        ("dubbo", errors.RefusedError, "no Dubbo frame: it begins with b'HT'"),
        ("telnet", errors.RefusedError, "answers in HTTP"),
    ],
)
def test_an_http_server_is_told_apart(
    protocol: str, kind: type[errors.DubboError], said: str
) -> None:
    """One clear error, not a timeout."""

    async def main(address: str) -> None:
        async with DubboClient(address, protocol=protocol, patience_s=0) as client:
            with pytest.raises(kind, match=said):
                await client.invoke(ACCOUNTS, "get", 1)

    with answering(HTTP_ANSWER) as address:
        asyncio.run(main(address))


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_each_way_of_not_being_reached_has_its_own_words(version: str) -> None:
    """Refused; closed at once; silent: nobody waits longer than its limits."""

    async def refused(service: Service) -> None:
        with pytest.raises(errors.UnreachableError, match="Connection refused"):
            await service.add(1, 2)

    async def closed(service: Service) -> None:
        with pytest.raises(errors.DubboError, match=r"closed it|ended|closed"):
            await service.add(1, 2)

    async def silent(service: Service) -> None:
        with pytest.raises(errors.CallTimeoutError, match=r"no (answer|whole reply) from 127"):
            await service.add(1, 2, timeout_s=0.05)

    options = {"patience_s": 0, "retries": 0}
    provider = DubboProvider(dialect=DIALECTS[version] if version else None)
    provider.start()
    provider.stop()
    run(provider, refused, version, **options)
    with served(version, closes_at_once=True) as provider:
        run(provider, closed, version, **options)
    with served(version) as provider:

        async def later_silent(service: Service) -> None:
            assert 3 == await service.add(1, 2)
            provider.faults = Faults(is_silent=True)
            await silent(service)

        run(provider, later_silent, version, **options)


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_a_provider_that_is_away_for_a_moment_is_waited_for(version: str) -> None:
    """It restarts on its port: the stale connection is found before the send, and nobody fails."""

    async def steps(service: Service) -> None:
        assert 3 == await service.add(1, 2)
        await asyncio.to_thread(provider.stop)
        calls = [asyncio.create_task(service.add(number, 1)) for number in range(20)]
        standing = service._client._live.standings[Address("127.0.0.1", provider.port)]
        await until(lambda: standing.failures >= 2)
        assert not any(call.done() for call in calls)
        await asyncio.to_thread(provider.start)
        assert [*range(1, 21)] == await asyncio.gather(*calls)

    provider = DubboProvider(dialect=DIALECTS[version] if version else None)
    provider.start()
    try:
        run(provider, steps, version)
    finally:
        provider.stop()


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_a_provider_that_accepts_and_closes_is_waited_for(version: str) -> None:
    """So does one that ends, or has too many connections; calls are not what finds out."""

    async def steps(service: Service) -> None:
        calls = [asyncio.create_task(service.add(number, 1)) for number in range(20)]
        await until(lambda: service._client._live is not None and provider.accepted >= 2)
        standing = service._client._live.standings[Address("127.0.0.1", provider.port)]
        await until(lambda: standing.failures >= 2)
        assert 0 == provider.requests
        provider.faults = Faults()
        assert [*range(1, 21)] == await asyncio.gather(*calls)

    with served(version, closes_at_once=True) as provider:
        run(provider, steps, version)


def test_a_provider_that_is_gone_for_long_is_not_waited_for() -> None:
    """After patience_s calls fail at once, and say since when; then it comes back."""

    async def steps(service: Service) -> None:
        for _ in range(20):
            with pytest.raises(errors.UnreachableError):
                await service.add(1, 2)
        said = []
        for _ in range(20):
            try:
                await service.add(1, 2)
            except errors.UnreachableError as error:
                said.append(str(error))
        assert 20 == len(said)
        assert any("no provider has been reachable, for " in text for text in said)
        await asyncio.to_thread(provider.start)
        standing = service._client._live.standings[Address("127.0.0.1", provider.port)]
        await until(lambda: not standing.is_paused(asyncio.get_running_loop().time()))
        assert 3 == await service.add(1, 2)

    provider = DubboProvider()
    provider.start()
    provider.stop()
    try:
        run(provider, steps, patience_s=0)
    finally:
        provider.stop()


def test_a_dead_provider_costs_the_others_nothing() -> None:
    """One of three is dead from the start: no call fails, and it is hardly asked."""

    async def main(addresses: list[str]) -> None:
        async with DubboClient(addresses) as client:
            service = client.service(ACCOUNTS)
            for number in range(200):
                assert number == await service.add(number, 0)

    dead = DubboProvider()
    dead.start()
    dead.stop()
    with served() as one, served() as two:
        asyncio.run(main([dead.address, one.address, two.address]))
        assert 1 == one.accepted == two.accepted


def test_a_provider_that_will_stop_gets_no_further_call() -> None:
    """The call in flight is finished, the connection retired, and the next call goes elsewhere."""
    gate = threading.Event()

    class Slow:
        async def get(self, number: int) -> int:
            if number == 0:
                await asyncio.get_running_loop().run_in_executor(None, gate.wait)
            return number

    async def steps(service: Service) -> None:
        first = asyncio.create_task(service.get(0))
        assert 5 == await service.get(5)
        await asyncio.to_thread(provider.ask_for_no_more_calls)
        assert [*range(1, 10)] == [await service.get(number) for number in range(1, 10)]
        assert not first.done()
        gate.set()
        assert 0 == await first

    with DubboProvider({ACCOUNTS: Slow()}) as provider:
        run(provider, steps)
        assert 2 == provider.accepted


def test_the_other_sides_heartbeats_are_answered() -> None:
    """A provider closes a connection that leaves three of them unanswered."""

    async def steps(service: Service) -> None:
        assert 3 == await service.add(1, 2)
        await asyncio.to_thread(provider.send_to_all, heartbeat(77))
        (connection,) = provider._connections
        await until(lambda: connection._binary.heartbeats == 1)

    with served() as provider:
        run(provider, steps)


@pytest.mark.parametrize("version", ["", "2.6.12", "3.3.1 qos"])
def test_a_ping_tells_whether_a_provider_lives(version: str) -> None:
    """A heartbeat, or an empty line; it calls no method."""

    async def main() -> None:
        async with client_of(provider, version, patience_s=0, retries=0) as client:
            await client.ping()
            assert [] == [command for command in provider.commands if command]
            await asyncio.to_thread(provider.stop)
            with pytest.raises(errors.UnreachableError):
                await client.ping()

    with served(version) as provider:
        asyncio.run(main())


def test_a_silent_connection_is_asked_and_then_given_up() -> None:
    """After heartbeat_s without a byte it sends a heartbeat; it lives as long as they are answered."""

    async def steps(service: Service) -> None:
        assert 3 == await service.add(1, 2)
        (connection,) = provider._connections
        await until(lambda: connection._binary.heartbeats >= 5)
        assert 3 == await service.add(1, 2)
        assert 1 == provider.accepted

    with served() as provider:
        run(provider, steps, heartbeat_s=0.05)


# --- pool -----------------------------------------------------------------------------------------


def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    """Idle, or right after a reply: what follows could be taken for the next reply."""

    async def steps(service: Service) -> None:
        assert 3 == await service.add(1, 2)
        await asyncio.to_thread(provider.send_to_all, b"99\r\nelapsed: 0 ms.\r\ndubbo>")
        await until(lambda: provider.connections == 0)
        assert 5 == await service.add(2, 3)
        assert 2 == provider.accepted
        provider.faults = Faults(junk=b"junk")
        for number in range(5):
            with contextlib.suppress(errors.OutcomeUnknownError):
                assert number == await service.add(number, 0, timeout_s=0.2)

    with served("2.6.12") as provider:
        run(provider, steps, "2.6.12")


def test_a_full_pool_is_waited_for_in_order_and_not_for_ever() -> None:
    """One connection: calls queue; one that is cancelled leaves no place lost."""
    gate = threading.Event()
    order = []

    class Slow:
        async def get(self, number: int) -> int:
            if number == 0:
                await asyncio.get_running_loop().run_in_executor(None, gate.wait)
            order.append(number)
            return number

    async def steps(service: Service) -> None:
        calls = [asyncio.create_task(service.get(number)) for number in range(6)]
        await until(lambda: provider.requests == 1)
        calls[2].cancel()
        options = {"protocol": "telnet", "connections": 1, "connect_timeout_s": 0.1}
        async with DubboClient(provider.address, **options) as other:
            busy = asyncio.create_task(other.invoke(ACCOUNTS, "get", 0))
            await until(lambda: provider.requests == 2)
            with pytest.raises(errors.BusyError, match="all 1 connections to 127"):
                await other.invoke(ACCOUNTS, "get", 9)
            busy.cancel()
        gate.set()
        assert [0, 1, 3, 4, 5] == await asyncio.gather(*calls[:2], *calls[3:])

    with DubboProvider({ACCOUNTS: Slow()}, dialect=DIALECTS["2.6.12"]) as provider:
        run(provider, steps, "2.6.12", connections=1, connect_timeout_s=10)

    assert [0, 1, 3, 4, 5] == [number for number in order if number != 9][-5:]


def test_idle_connections_are_closed_before_the_provider_does() -> None:
    """All of them, without a call that would do it."""

    async def steps(service: Service) -> None:
        await asyncio.gather(*[service.add(number, 1) for number in range(10)])
        assert provider.connections > 1
        await until(lambda: provider.connections == 0)
        assert 3 == await service.add(1, 2)

    with served("2.6.12", delay_s=(0.0, 0.01)) as provider:
        run(provider, steps, "2.6.12", idle_s=0.1)


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_close_ends_calls_and_those_that_wait(version: str) -> None:
    """Each with an error of its own; afterwards the client may be used again."""

    async def main() -> None:
        client = client_of(provider, version, connections=1)
        assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
        provider.faults = Faults(is_silent=True)
        calls = [asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, n)) for n in range(5)]
        await until(lambda: provider.requests >= 2)
        await client.close()
        failed = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, errors.DubboError) for error in failed), failed
        provider.faults = Faults()
        assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
        await client.close()

    with served(version) as provider:
        asyncio.run(main())


def test_close_ends_a_handshake() -> None:
    """Of a provider that says nothing."""

    async def main() -> None:
        client = client_of(provider, "2.6.12", connect_timeout_s=60)
        call = asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, 2))
        await until(lambda: provider.connections == 1)
        await client.close()
        with pytest.raises(errors.DubboError, match="the client was closed"):
            await call

    with served("2.6.12", is_silent=True) as provider:
        asyncio.run(main())


# --- processes, loops, threads --------------------------------------------------------------------


def in_child(steps: Callable[[], None]) -> int:
    """Run steps in a forked process; return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            steps()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("version", ["", "2.6.12"])
def test_a_client_from_before_a_fork_is_another_one_in_the_child(version: str) -> None:
    """The child connects for itself, and the parent's connection serves on undisturbed."""

    def child() -> None:
        async def main() -> None:
            for number in range(20):
                assert number == await client.invoke(ACCOUNTS, "add", number, 0)
            await client.close()

        asyncio.run(main())

    async def main() -> None:
        assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
        accepted = provider.accepted
        asyncio._set_running_loop(None)
        try:
            code = in_child(child)
        finally:
            asyncio._set_running_loop(loop)
        assert 0 == code
        assert accepted + 1 == provider.accepted
        for number in range(20):
            assert number == await client.invoke(ACCOUNTS, "add", number, 0)
        assert accepted + 1 == provider.accepted
        await client.close()

    with served(version) as provider:
        client = client_of(provider, version)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()


def test_another_loop_is_refused_in_words_and_a_later_one_is_served() -> None:
    """asyncio.run() twice in a script is fine; two loops at once are not."""
    with served() as provider:
        client = client_of(provider)

        async def other() -> None:
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

        async def first() -> None:
            assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
            await asyncio.to_thread(asyncio.run, other())
            await client.close()

        async def second() -> None:
            assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
            await client.close()

        asyncio.run(first())
        asyncio.run(second())


def test_scripts_and_threads_block() -> None:
    """Many threads at once; not in an event loop; the loop's thread ends with the client."""
    with served(delay_s=(0.0, 0.005)) as provider, client_of(provider).blocking() as client:
        service = client.service(ACCOUNTS)
        found: dict[int, Any] = {}

        def call(number: int) -> None:
            found[number] = [service.getByAccountId(number + n)["id"] for n in range(20)]

        threads = [threading.Thread(target=call, args=[100 * number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {100 * k: [*range(100 * k, 100 * k + 20)] for k in range(8)} == found
        assert [ACCOUNTS] == client.ls()
        assert "OK" == client.status()
        with pytest.raises(errors.RemoteError):
            service.fail("no")

        async def within() -> None:
            with pytest.raises(RuntimeError, match="would block this event loop"):
                service.add(1, 2)

        asyncio.run(within())
    assert "tornado_multi dubbo" not in [thread.name for thread in threading.enumerate()]


def test_ipv6_literals_work() -> None:
    """In brackets, as everywhere."""
    with DubboProvider(host="::1") as provider:
        address = f"[::1]:{provider.port}"

        async def main() -> None:
            async with DubboClient(address) as client:
                assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)

        asyncio.run(main())


def test_a_custom_prompt_is_learned() -> None:
    """Also one that would mean something in a pattern."""
    dialect = DIALECTS["2.6.12"]
    dialect = type(dialect)(prompt="[a.*]$ ")

    async def steps(service: Service) -> Any:
        return await service.echo("[a.*]$ ")

    with DubboProvider(dialect=dialect) as provider:
        assert "[a.*]$ " == run(provider, steps, "2.6.12")


def test_the_binary_protocol_carries_types_and_attachments() -> None:
    """Text refuses them, for it would have to leave them out."""
    from tornado_multi.dubbo.invocation import Call

    async def main() -> None:
        async with client_of(provider) as client:
            call = Call(ACCOUNTS, "add", (1, 2), ("int", "int"), attachments={"trace": "7"})
            answer = await client.call(call)
            assert (3, "7") == (answer.value, answer.attachments["trace"])
            with pytest.raises(errors.BadArgumentError, match="is no int"):
                await client.invoke(ACCOUNTS, "add", 1, "x", types=["int", "int"])
        async with client_of(provider, "2.6.12") as client:
            with pytest.raises(errors.BadArgumentError, match="neither types nor attachments"):
                await client.invoke(ACCOUNTS, "add", 1, 2, types=["int", "int"])

    with served() as provider:
        asyncio.run(main())


# --- versions that refuse, prompts and charsets that don't fit ------------------------------------


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.3.1", "From 3.0.2 on the service port has no invoke: use QoS or the binary protocol"),
        ("2.7.15", "dubbo.protocol.telnet=ls,invoke,status"),
    ],
)
def test_a_version_that_no_longer_has_invoke_is_named_with_the_way_out(
    version: str, said: str
) -> None:
    """A team upgrades its provider, and the client of years stops: what to do stands in the error."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.NotAllowedError, match=said):
            await service.add(1, 2)

    with served(version) as provider:
        run(provider, steps, version)


def test_a_bare_null_is_an_error_and_no_result() -> None:
    """2.5.7 to 2.6.3 answer so when they can't match a null argument; a result has a line more."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.NoSuchMethodError, match="null argument"):
            await service.echo(None)
        assert None is await service.nothing()

    with served("2.6.3") as provider:
        run(provider, steps, "2.6.3")


def test_the_wrong_charset_is_an_error_and_no_silent_loss() -> None:
    """It says which one old providers have, and the next call is on a connection of its own."""

    async def steps(service: Service) -> None:
        with pytest.raises(errors.BadReplyError, match="charset='gbk'"):
            await service.getByAccountId(7)
        assert 3 == await service.add(1, 2)

    with served("2.5.8") as provider:
        run(provider, steps, "2.5.8", charset="utf-8")


def test_a_provider_without_a_prompt_is_said() -> None:
    """The end of its replies can't be known, so nothing is asked."""
    dialect = type(DIALECTS["2.6.12"])(prompt="")

    async def steps(service: Service) -> None:
        with pytest.raises(errors.UnreachableError, match="prompt may be empty"):
            await service.add(1, 2)

    with DubboProvider(dialect=dialect) as provider:
        run(provider, steps, "2.6.12", connect_timeout_s=0.3, patience_s=0)


@pytest.mark.parametrize("version", ["", "2.6.12", "3.3.1 qos"])
def test_a_connection_that_the_provider_closes_when_idle_is_no_failure(version: str) -> None:
    """Nor one of QoS after 300 s: it is found before the next call is sent."""

    async def steps(service: Service) -> None:
        for number in range(5):
            assert number == await service.add(number, 0)
            await asyncio.to_thread(provider.close_all)

    with served(version) as provider:
        run(provider, steps, version)
        assert 5 == provider.accepted


def test_a_provider_of_text_that_will_stop_is_left_after_the_call() -> None:
    """The read-only event among text: the connection is not used again."""

    async def steps(service: Service) -> None:
        assert 3 == await service.add(1, 2)
        await asyncio.to_thread(provider.ask_for_no_more_calls)
        for number in range(3):
            assert number == await service.add(number, 0)
        assert 2 == provider.accepted

    with served("2.6.12") as provider:
        run(provider, steps, "2.6.12")


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.5])
def test_the_banner_of_qos_is_never_taken_for_a_reply(after_s: float) -> None:
    """Whenever it comes; each command has exactly one reply."""
    dialect = dataclasses.replace(DIALECTS["3.3.1 qos"], banner_after_s=after_s)

    async def steps(service: Service) -> None:
        found = await asyncio.gather(*[service.add(number, 0) for number in range(20)])
        assert [*range(20)] == found

    with DubboProvider(dialect=dialect) as provider:
        run(provider, steps, "3.3.1 qos")


def test_the_import_of_the_client_does_nothing() -> None:
    """No thread, no telnetlib, no other policy of event loops, no socket."""
    script = (
        "import asyncio, sys, threading; policy = asyncio.get_event_loop_policy();"
        "import tornado_multi; client = tornado_multi.DubboClient('127.0.0.1:1'); client.blocking();"
        "assert threading.active_count() == 1;"
        "assert asyncio.get_event_loop_policy() is policy;"
        "assert not {'telnetlib', 'kazoo'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_a_service_that_nobody_is_known_for_is_waited_for() -> None:
    """A registry forgets a provider that restarts, for a moment: calls find it when it is back."""

    class Registry:
        known: tuple[Address, ...] = ()
        asked = 0

        async def resolve(self, service: str, version: str, group: str | None) -> Any:
            assert (ACCOUNTS, "0.0.0", None) == (service, version, group)
            self.asked += 1
            return self.known

        async def close(self) -> None:
            pass

    async def main(provider: DubboProvider) -> None:
        registry = Registry()
        async with DubboClient(registry) as client:
            call = asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, 2))
            await until(lambda: registry.asked >= 2)
            registry.known = (Address("127.0.0.1", provider.port),)
            assert 3 == await call
        async with DubboClient(Registry(), patience_s=0) as client:
            with pytest.raises(errors.UnreachableError, match="knows no provider"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

    with served() as provider:
        asyncio.run(main(provider))
