"""The Dubbo client where things meet at a bad moment: ends, cancellations, closes, odd resolvers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from support.waiting import eventually

from tornado_multi import DubboClient
from tornado_multi.dubbo import errors, text
from tornado_multi.dubbo.addresses import Address
from tornado_multi.dubbo.frames import (
    READ_ONLY,
    Frame,
    FrameReader,
    Status,
    encode_frame,
    heartbeat,
)
from tornado_multi.dubbo.hessian import encode
from tornado_multi.dubbo.resolving import DnsAddresses
from tornado_multi.testing.dubbo import DIALECTS, DubboProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

ACCOUNTS = "com.example.AccountService"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return what runs a coroutine on a loop of each kind."""

    def run_in(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run_in


@contextlib.asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Be a provider in the test's own loop, so that each byte has its moment."""
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(probe: Callable[[], Any]) -> None:
    """Wait for a fact without stopping the loop."""
    async with asyncio.timeout(20):
        while not probe():  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0.005)


async def frames_of(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Yield the requests of a client."""
    cut = FrameReader()
    while data := await reader.read(1 << 16):
        for frame in cut.feed(data):
            yield frame


async def calls_of(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[Frame]:
    """Yield the calls of a client; its heartbeats are answered."""
    async for frame in frames_of(reader):
        if frame.is_event:
            writer.write(encode_frame(Frame(frame.id, b"N", is_request=False, is_event=True)))
        else:
            yield frame


def answer_to(frame: Frame, body: bytes = b"\x95N\x90") -> bytes:
    return encode_frame(Frame(frame.id, body, is_request=False, status=20))


def has_come(connection: Any, what: int) -> bool:
    """Tell what waits in the kernel; the loop stands still meanwhile."""
    poller = select.poll()
    poller.register(connection._transport.get_extra_info("socket").fileno(), what)
    return any(seen & what for _, seen in poller.poll(0))


ONE = b"\x91\x91"
"""The body of an answer: a value, and it is 1."""


# --- moments of a connection ----------------------------------------------------------------------


def test_a_call_cancelled_while_its_reply_may_go_on_ends_its_connection(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows an exception's text would be taken for the next call's reply."""
    doubtful = asyncio.Event()
    whole = text.TextConnection.rest_of_reply

    async def rest_of_reply(self: text.TextConnection, reply: bytes) -> bytes:
        doubtful.set()
        return await whole(self, reply)

    monkeypatch.setattr(text, "QUIET_S", 30.0)
    monkeypatch.setattr(text.TextConnection, "rest_of_reply", rest_of_reply)
    accepted = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readline()
        writer.write(b"dubbo>")
        await reader.readline()
        if len(accepted) == 1:
            writer.write(b"Failed to invoke method get, cause: a.B: x\r\ndubbo>")
            await reader.readline()
            writer.write(b'"of another"\r\nelapsed: 0 ms.\r\ndubbo>')
        writer.write(b'"mine"\r\nelapsed: 0 ms.\r\ndubbo>')
        await reader.read()

    async def main() -> None:
        async with serving(serve) as address, DubboClient(address, protocol="telnet") as client:
            call = asyncio.create_task(client.invoke(ACCOUNTS, "get", 1))
            await doubtful.wait()
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert "mine" == await client.invoke(ACCOUNTS, "get", 2)
            assert 2 == len(accepted)

    run(main())


@pytest.mark.parametrize("extra", [b"dubbo>", b"\r\ndubbo>"])
def test_a_reply_that_is_none_ends_the_connection(run: Any, extra: bytes) -> None:
    """It was another line's, so the next that comes is this one's, and would be the next call's."""
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readline()
        writer.write(b"dubbo>")
        if accepted == [writer]:
            await reader.readline()
            writer.write(extra)
            await reader.readline()
            writer.write(b'"of the first"\r\nelapsed: 0 ms.\r\ndubbo>')
        await reader.readline()
        writer.write(b'"of the second"\r\nelapsed: 0 ms.\r\ndubbo>')

    async def main() -> None:
        options = {"protocol": "telnet", "connections": 1}
        async with serving(serve) as address, DubboClient(address, **options) as client:
            with pytest.raises(errors.BadReplyError):
                await client.invoke(ACCOUNTS, "get", 1)
            assert "of the second" == await client.invoke(ACCOUNTS, "get", 2)

    run(main())


def test_a_call_cancelled_while_its_connection_is_looked_at_loses_none(run: Any) -> None:
    """A heartbeat has come meanwhile: the connection is in use as long as the look takes."""

    async def main() -> None:
        with DubboProvider(dialect=DIALECTS["2.6.12"]) as provider:
            client = DubboClient(provider.address, protocol="telnet", connections=1)
            assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
            endpoint = next(iter(client._live.endpoints.values()))
            provider.send_to_all(heartbeat(7))
            eventually(lambda: has_come(endpoint._idle[0], select.POLLIN))  # and is not read yet
            call = asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, 2))
            await asyncio.sleep(0)
            assert ([], 0) == (endpoint._idle, provider.requests - 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await client.close()
            await until(lambda: provider.connections == 0)

    run(main())


@pytest.mark.parametrize("protocol", ["dubbo", "telnet"])
def test_the_end_is_found_behind_what_came_before_it(run: Any, protocol: str) -> None:
    """A heartbeat and then the end, both unread: the call goes out on a new connection."""

    async def main() -> None:
        with DubboProvider(dialect=DIALECTS["2.6.12"]) as provider:
            async with DubboClient(
                provider.address, protocol=protocol, connections=1, retries=0
            ) as client:
                for number in range(5):
                    assert number == await client.invoke(ACCOUNTS, "add", number, 0)
                    provider.send_to_all(heartbeat(7))
                    provider.close_all()
                    endpoint = endpoint_of(client)
                    connection = (getattr(endpoint, "_idle", None) or endpoint._connections)[-1]
                    eventually(lambda c=connection: has_come(c, select.POLLRDHUP))
            assert 5 == provider.accepted

    run(main())


def test_close_ends_calls_on_a_connection_that_wants_no_further_ones(run: Any) -> None:
    """It is out of use for others, and still has a call in flight."""
    first: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for frame in calls_of(reader, writer):
            if not first:
                first.append(writer)
                writer.write(encode_frame(Frame(0, READ_ONLY, is_request=True, is_event=True)))
            elif first != [writer]:
                writer.write(answer_to(frame, ONE))

    async def main() -> None:
        async with serving(serve) as address:
            client = DubboClient(address, timeout_s=60, total_timeout_s=60)
            call = asyncio.create_task(client.invoke(ACCOUNTS, "get", 1))
            await until(lambda: first)
            endpoint = next(iter(client._live.endpoints.values()))
            await until(lambda: endpoint._idlest() is None)
            assert 1 == await client.invoke(ACCOUNTS, "get", 1)
            await client.close()
            async with asyncio.timeout(10):
                with pytest.raises(errors.OutcomeUnknownError, match="client was closed"):
                    await call

    run(main())


def test_close_ends_the_wait_for_a_first_answer(run: Any) -> None:
    """Of a provider that accepts and says nothing."""
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        async for _frame in frames_of(reader):
            asked.set()

    async def main() -> None:
        async with serving(serve) as address:
            client = DubboClient(address, connect_timeout_s=60, total_timeout_s=60)
            call = asyncio.create_task(client.invoke(ACCOUNTS, "get", 1))
            await asked.wait()
            await client.close()
            async with asyncio.timeout(10):
                with pytest.raises(errors.NotSentError, match="the client was closed"):
                    await call

    run(main())


@pytest.mark.parametrize("protocol", ["dubbo", "telnet"])
def test_close_ends_the_wait_for_a_connection(run: Any, protocol: str) -> None:
    """Of a host that answers no connection request."""

    async def main(port: int) -> None:
        client = DubboClient(
            "127.0.0.1", port, protocol=protocol, connect_timeout_s=60, total_timeout_s=60
        )
        call = asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, 2))
        await until(lambda: client._live and endpoint_of(client)._connector._attempts)
        await client.close()
        async with asyncio.timeout(10):
            with pytest.raises(errors.NotSentError, match="the client was closed"):
                await call

    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        contextlib.ExitStack() as stack,
    ):
        while True:  # until its queue is full, and the kernel drops what comes
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
            if not select.select([], [caller], [], 0.2)[1]:
                break
        run(main(server.getsockname()[1]))


def test_calls_that_wait_for_a_slow_reader_go_on_one_after_the_other(run: Any) -> None:
    """When it reads again, they don't all write at once what it can't take in."""
    may_read = asyncio.Event()
    body = "x" * 500_000
    held: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for frame in calls_of(reader, writer):
            await may_read.wait()
            (connection,) = endpoint_of(client)._connections
            held.append(connection._transport.get_write_buffer_size())
            writer.write(answer_to(frame, ONE))

    client: DubboClient

    async def main() -> None:
        nonlocal client
        async with serving(serve) as address:
            client = DubboClient(address, timeout_s=60, total_timeout_s=60)
            calls = [asyncio.create_task(client.invoke(ACCOUNTS, "get", body)) for _ in range(60)]
            await until(lambda: client._live and endpoint_of(client)._connections)
            await until(lambda: not endpoint_of(client)._connections[0]._may_write.is_set())
            may_read.set()
            assert [1] * 60 == await asyncio.gather(*calls)
            await client.close()
        assert max(held) < 3_000_000

    run(main())


def endpoint_of(client: DubboClient) -> Any:
    assert client._live is not None
    (endpoint,) = client._live.endpoints.values()
    return endpoint


# --- resolvers ------------------------------------------------------------------------------------


class Told:
    """A resolver that says what the test wants."""

    def __init__(self, tell: Callable[[], Awaitable[Sequence[Address]]]) -> None:
        self.tell = tell

    async def resolve(self, *_: str | None) -> Sequence[Address]:
        return await self.tell()

    async def close(self) -> None:
        pass


def test_a_resolver_that_does_not_answer_is_not_waited_for_beyond_the_total(run: Any) -> None:
    """total_timeout_s holds for a call with all that it does."""

    async def never() -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    async def main() -> None:
        async with DubboClient(Told(never), total_timeout_s=0.2) as client, asyncio.timeout(10):
            with pytest.raises(errors.UnreachableError, match=r"0\.2 s"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

    run(main())


def test_a_resolver_that_knows_nobody_is_an_error_in_words(run: Any) -> None:
    """It may raise UnreachableError, or return nothing."""

    async def nobody() -> Sequence[Address]:
        return []

    async def main() -> None:
        async with DubboClient(Told(nobody)) as client:
            with pytest.raises(errors.UnreachableError, match="no provider"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

    run(main())


def test_a_client_closed_while_it_looks_for_a_provider_calls_nobody(run: Any) -> None:
    """Else it would open a connection that nobody closes."""
    provider = DubboProvider()
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def later() -> Sequence[Address]:
        asked.set()
        await may_answer.wait()
        return [Address("127.0.0.1", provider.port)]

    async def main() -> None:
        client = DubboClient(Told(later))
        call = asyncio.create_task(client.invoke(ACCOUNTS, "add", 1, 2))
        await asked.wait()
        await client.close()
        may_answer.set()
        with pytest.raises(errors.NotSentError, match="the client was closed"):
            await call

    with provider:
        run(main())
        assert 0 == provider.accepted


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "a\0b"])
def test_a_name_that_can_not_be_looked_up_is_unreachable(run: Any, host: str) -> None:
    """Whatever kind of error the system makes of it."""

    async def name() -> Sequence[Address]:
        return [Address(host, 20880)]

    async def main() -> None:
        async with DubboClient(Told(name), patience_s=0, retries=0) as client:
            with pytest.raises(errors.UnreachableError, match="can't be reached"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

    run(main())


def test_calls_that_come_together_look_a_name_up_once(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it is known, a look-up holds up nobody."""
    asked: list[asyncio.Future[Any]] = []

    async def look_up(*_: Any, **__: Any) -> Any:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    def found(host: str) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 20880))]

    async def main() -> None:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", look_up, raising=False)
        names = DnsAddresses("accounts.example", refresh_s=0)

        async def resolve() -> Sequence[Address]:
            return await names.resolve(ACCOUNTS, "0.0.0", None)

        first = [asyncio.create_task(resolve()) for _ in range(50)]
        await until(lambda: asked)
        first[0].cancel()  # which is no reason to end it for the others
        asked[0].set_result(found("10.0.0.1"))
        one, two = (Address("10.0.0.1", 20880),), (Address("10.0.0.2", 20880),)
        assert [one] * 49 == (await asyncio.gather(*first, return_exceptions=True))[1:]
        assert one == await resolve()
        await until(lambda: len(asked) == 2)
        assert one == await resolve()
        asked[1].set_exception(OSError(-3, "Temporary failure in name resolution"))
        await until(names._asking.done)
        assert one == await resolve()
        await until(lambda: len(asked) == 3)
        asked[2].set_result(found("10.0.0.2"))
        await until(names._asking.done)
        assert two == await resolve()
        await until(lambda: len(asked) == 4)
        asked[3].set_result(found("10.0.0.2"))
        await until(names._asking.done)

    run(main())


def test_a_name_without_an_address_says_why(run: Any) -> None:
    """In the words of the system."""

    async def main() -> None:
        async with DubboClient(DnsAddresses("a..b"), patience_s=0) as client:
            with pytest.raises(errors.UnreachableError, match=r"The name a\.\.b can't be resolved"):
                await client.invoke(ACCOUNTS, "add", 1, 2)

    run(main())


# --- closing --------------------------------------------------------------------------------------


def test_close_from_another_thread_ends_blocking_calls() -> None:
    """Whatever they wait for: here for a provider's return."""
    provider = DubboProvider()
    provider.start()
    provider.stop()
    client = DubboClient(provider.address, patience_s=60, total_timeout_s=60)
    blocking = client.blocking()
    failed: list[BaseException] = []

    def call() -> None:
        try:
            blocking.invoke(ACCOUNTS, "add", 1, 2)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at below
            failed.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: client._live is not None and client._live.standings)
    (standing,) = client._live.standings.values()
    eventually(lambda: standing.failures >= 2 and not standing.active)
    blocking.close()
    for thread in threads:
        thread.join(10)

    assert [] == [thread for thread in threads if thread.is_alive()]
    assert {True} == {isinstance(error, errors.DubboError) for error in failed}, failed
    assert 8 == len(failed)


def test_a_blocking_call_during_a_close_begins_anew() -> None:
    """It waits for the end of the old loop; the client can't belong to two."""
    closing, may_close = threading.Event(), threading.Event()

    class Slow(Told):
        async def close(self) -> None:
            closing.set()
            await asyncio.to_thread(may_close.wait)

    async def here() -> Sequence[Address]:
        return [Address("127.0.0.1", provider.port)]

    found: list[int] = []
    with DubboProvider() as provider:
        blocking = DubboClient(Slow(here)).blocking()
        assert 3 == blocking.invoke(ACCOUNTS, "add", 1, 2)
        closer = threading.Thread(target=blocking.close)
        closer.start()
        assert closing.wait(20)
        caller = threading.Thread(
            target=lambda: found.append(blocking.invoke(ACCOUNTS, "add", 2, 3))
        )
        caller.start()
        eventually(lambda: blocking._mutex.locked() or not caller.is_alive())
        may_close.set()
        closer.join(20)
        caller.join(20)
        blocking.close()

    assert [5] == found


@pytest.mark.parametrize("is_blocking", [False, True])
def test_a_forgotten_client_is_named_and_its_connections_end(*, is_blocking: bool) -> None:
    """Heartbeats would keep them for ever."""

    async def forget(address: str) -> None:
        client = DubboClient(address)
        assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
        with pytest.warns(ResourceWarning, match="DubboClient dubbo .* was never closed"):
            del client
        await until(lambda: provider.connections == 0)

    def forget_blocking(address: str) -> None:
        client = DubboClient(address).blocking()
        assert 3 == client.invoke(ACCOUNTS, "add", 1, 2)
        thread = client._thread
        assert thread is not None
        with pytest.warns(ResourceWarning, match="BlockingClient .* was never closed"):
            del client
        thread.join(20)
        assert not thread.is_alive()

    with DubboProvider() as provider:
        if is_blocking:
            forget_blocking(provider.address)
        else:
            asyncio.run(forget(provider.address))
        eventually(lambda: provider.connections == 0)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_client_is_closed_after_its_loop(run: Any) -> None:
    """asyncio.run() is over, and close() comes in another: its connections end all the same."""

    async def use(client: DubboClient) -> None:
        assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)

    with DubboProvider() as provider:
        client = DubboClient(provider.address)
        run(use(client))
        run(client.close())
        gc.collect()  # a transport without its loop can but be collected
        eventually(lambda: provider.connections == 0)


def test_providers_that_are_no_longer_named_are_let_go(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a registry tells changes all the time; connections and memory do not grow by it."""
    monkeypatch.setattr("tornado_multi.dubbo.live.FORGOTTEN_AFTER_S", -1.0)
    old, new = DubboProvider(), DubboProvider()
    now = old

    async def the_one() -> Sequence[Address]:
        return [Address("127.0.0.1", now.port)]

    async def main() -> None:
        nonlocal now
        async with DubboClient(Told(the_one)) as client:
            assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
            now = new
            assert 3 == await client.invoke(ACCOUNTS, "add", 1, 2)
            await until(lambda: old.connections == 0)
            assert [Address("127.0.0.1", new.port)] == list(client._live.endpoints)

    with old, new:
        run(main())


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
def test_a_timeout_that_is_none_is_refused_before_anything_is_sent(
    run: Any, timeout_s: float
) -> None:
    """With 0 a call would be sent, and nobody would hear its answer."""

    async def main() -> None:
        async with DubboClient(provider.address) as client:
            with pytest.raises(errors.BadArgumentError, match="timeout_s is"):
                await client.invoke(ACCOUNTS, "add", 1, 2, timeout_s=timeout_s)

    with DubboProvider() as provider:
        run(main())
        assert 0 == provider.accepted


def test_a_connection_that_the_network_has_lost_is_replaced(run: Any) -> None:
    """Nobody says that it has gone: a call and then a heartbeat without an answer do."""
    is_lost = False
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        async for frame in frames_of(reader):
            if not (is_lost and writer is accepted[0]):
                writer.write(answer_to(frame, ONE))

    async def main() -> None:
        nonlocal is_lost
        async with serving(serve) as address:
            limits = {"timeout_s": 0.2, "connect_timeout_s": 0.2}
            async with DubboClient(address, retries=0, **limits) as client, asyncio.timeout(20):
                assert 1 == await client.invoke(ACCOUNTS, "get", 1)
                is_lost = True
                while len(accepted) == 1:
                    with contextlib.suppress(errors.CallTimeoutError):
                        await client.invoke(ACCOUNTS, "get", 1)

    run(main())


def test_a_slow_method_costs_no_connection(run: Any) -> None:
    """The heartbeat after its timeout is answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        async for frame in frames_of(reader):
            if frame.is_event:
                writer.write(encode_frame(Frame(frame.id, b"N", is_request=False, is_event=True)))
                beats.append(frame)

    accepted: list[asyncio.StreamWriter] = []
    beats: list[Frame] = []

    async def main() -> None:
        async with serving(serve) as address:
            limits = {"timeout_s": 0.05, "connect_timeout_s": 0.3}
            async with DubboClient(address, retries=0, **limits) as client, asyncio.timeout(20):
                while len(beats) < 3:
                    with contextlib.suppress(errors.CallTimeoutError):
                        await client.invoke(ACCOUNTS, "get", 1)
        assert 1 == len(accepted)

    run(main())


# --- answers --------------------------------------------------------------------------------------


def test_an_overloaded_provider_is_given_time(run: Any) -> None:
    """Asked again at once it refuses again; when it has threads, the call is done."""
    asked_s: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for frame in calls_of(reader, writer):
            asked_s.append(asyncio.get_running_loop().time())
            if len(asked_s) < 3:
                body = encode("Thread pool is EXHAUSTED!")
                status = int(Status.THREADS_EXHAUSTED)
                writer.write(encode_frame(Frame(frame.id, body, is_request=False, status=status)))
            else:
                writer.write(answer_to(frame, ONE))

    async def main() -> None:
        async with serving(serve) as address, DubboClient(address) as client:
            assert 1 == await client.invoke(ACCOUNTS, "get", 1)
            first, second, third = asked_s
            assert second - first >= 0.024
            assert third - second >= 0.049
            asked_s.clear()
        async with serving(serve) as address, DubboClient(address, retries=1) as client:
            with pytest.raises(errors.OverloadedError, match="EXHAUSTED"):
                await client.invoke(ACCOUNTS, "get", 1)
            assert 2 == len(asked_s)

    run(main())


def test_an_answer_in_another_serialization_is_not_read_as_hessian(run: Any) -> None:
    """It could well be read, as something else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for frame in calls_of(reader, writer):
            good = answer_to(frame, ONE)
            writer.write(good[:2] + bytes([good[2] & 0xE0 | 6]) + good[3:])

    async def main() -> None:
        async with serving(serve) as address, DubboClient(address) as client:
            with pytest.raises(errors.BadReplyError, match="serialized in the way 6"):
                await client.invoke(ACCOUNTS, "get", 1)

    run(main())
