"""The chat among the clients of one worker."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Self

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream
from tornado.websocket import websocket_connect

from demo_app.chat import MAX_MESSAGE_BYTES, MAX_UNDELIVERED, UNSUPPORTED_DATA

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # The key is the example of RFC 6455 section 1.3.


class ChatClient:
    """A client that reads at once, so that only a test that wants a slow reader has one."""

    def __init__(self) -> None:
        """Note that nothing was heard yet."""
        self.closed = asyncio.Event()
        self._unheard: asyncio.Queue[str | None] = asyncio.Queue()

    async def connect(self, url: str) -> Self:
        """Connect, and wait until the room has announced this client."""
        self.connection = await websocket_connect(url, on_message_callback=self._note)
        self.announcement = await self.hear()
        return self

    async def say(self, text: str | bytes) -> None:
        """Send one message; bytes go as a binary one."""
        await self.connection.write_message(text, binary=isinstance(text, bytes))

    async def hear(self) -> dict[str, object]:
        """Return the next event of the room; fail if the connection ends instead."""
        message = await self._unheard.get()
        assert message is not None, f"closed with {self.connection.close_code}"
        event: dict[str, object] = json.loads(message)
        return event

    async def close(self) -> None:
        """Close from this side, and wait until the other side has closed, too."""
        self.connection.close()
        await self.closed.wait()

    def _note(self, message: str | bytes | None) -> None:
        if message is None:
            self.closed.set()
        assert not isinstance(message, bytes)
        self._unheard.put_nowait(message)


Connect = Callable[[], Awaitable[ChatClient]]


@pytest.fixture
def chat_url(http_server: object, http_port: int) -> str:
    """Return the address of the chat; a server listens there."""
    assert http_server is not None
    return f"ws://127.0.0.1:{http_port}/chat"


@pytest.fixture
def connect(io_loop: IOLoop, chat_url: str) -> Iterator[Connect]:
    """Connect one more client; all are closed after the test."""
    clients: list[ChatClient] = []

    async def connect() -> ChatClient:
        client = await ChatClient().connect(chat_url)
        clients.append(client)
        return client

    async def close_all() -> None:
        for client in clients:
            await client.close()

    yield connect
    io_loop.run_sync(close_all, timeout=5)


def event(kind: str, *, clients: int, text: str = "") -> dict[str, object]:
    """Return what every client of the room hears."""
    who = {"pid": os.getpid(), "fork_id": None}
    return {"kind": kind, "text": text, "clients": clients, **who}


async def two_clients(connect: Connect) -> tuple[ChatClient, ChatClient]:
    """Connect two clients that have both heard that both are there."""
    first, second = await connect(), await connect()
    await first.hear()
    return first, second


async def raw_client(http_port: int) -> IOStream:
    """Connect a client that reads nothing by itself, not even the answer to its handshake."""
    connection = socket.socket()
    # A small window keeps the kernel from reading much on its behalf.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream = IOStream(connection)
    await stream.connect(("127.0.0.1", http_port))
    await stream.write(HANDSHAKE)
    return stream


def text_frame(text: str) -> bytes:
    """Encode a text of less than 126 bytes as a client's frame (RFC 6455 section 5.2)."""
    payload = text.encode()
    final_text, masked = 0x81, 0x80
    # The mask is all zero, which leaves the payload as it is.
    return bytes([final_text, masked | len(payload), 0, 0, 0, 0]) + payload


@pytest.mark.gen_test
async def test_everybody_hears_who_joins(connect: Connect) -> None:
    """A new client is announced to all, itself included, with the number of clients."""
    first = await connect()
    second = await connect()

    assert event("joined", clients=1) == first.announcement
    assert event("joined", clients=2) == second.announcement
    assert event("joined", clients=2) == await first.hear()


@pytest.mark.gen_test
async def test_everybody_hears_what_is_said(connect: Connect) -> None:
    """A text reaches every client, its author included, and says which process carried it."""
    first, second = await two_clients(connect)

    await first.say("héllo")

    assert event("said", text="héllo", clients=2) == await first.hear()
    assert event("said", text="héllo", clients=2) == await second.hear()


@pytest.mark.gen_test
async def test_a_burst_arrives_whole_and_in_order(connect: Connect, http_port: int) -> None:
    """A burst in one packet drops nobody who reads, though it outnumbers the backlog allowed."""
    listener = await connect()
    talker = await raw_client(http_port)
    await listener.hear()
    texts = [f"{number:04}" for number in range(5 * MAX_UNDELIVERED)]

    await talker.write(b"".join(text_frame(text) for text in texts))

    assert texts == [(await listener.hear())["text"] for _ in texts]
    talker.close()


@pytest.mark.gen_test
async def test_who_leaves_is_announced_to_the_rest(connect: Connect) -> None:
    """After a client has left, the others hear of it and go on."""
    first, second = await two_clients(connect)

    await second.close()
    left = await first.hear()
    await first.say("alone")

    assert event("left", clients=1) == left
    assert event("said", text="alone", clients=1) == await first.hear()


@pytest.mark.gen_test
async def test_a_binary_message_ends_the_connection(connect: Connect) -> None:
    """The chat is text; anything else is closed with 1003, and others only see who left."""
    first, second = await two_clients(connect)

    await second.say(b"\x00")
    await second.closed.wait()

    assert UNSUPPORTED_DATA == second.connection.close_code
    assert event("left", clients=1) == await first.hear()


@pytest.mark.gen_test
async def test_a_message_that_is_too_long_ends_the_connection(connect: Connect) -> None:
    """A message of the limit is carried, one byte more ends the connection of its author."""
    first, second = await two_clients(connect)
    longest = "x" * MAX_MESSAGE_BYTES

    await second.say(longest)
    carried = await first.hear()
    await second.say(longest + "x")

    assert event("said", text=longest, clients=2) == carried
    assert event("left", clients=1) == await first.hear()


@pytest.mark.gen_test
async def test_another_origin_is_refused(chat_url: str) -> None:
    """A page of another site cannot join the chat through its visitor's browser."""
    request = HTTPRequest(chat_url, headers={"Origin": "http://elsewhere.example"})

    with pytest.raises(HTTPClientError) as refusal:
        await websocket_connect(request)

    assert 403 == refusal.value.code


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_is_let_go(connect: Connect, http_port: int) -> None:
    """Who leaves its messages unread is dropped from the room, and the others go on."""
    talker = await connect()
    deaf = await raw_client(http_port)
    joined = await talker.hear()

    heard = event("said", clients=2)
    while heard["kind"] == "said":
        await talker.say("x" * MAX_MESSAGE_BYTES)
        heard = await talker.hear()
    deaf.close()

    assert event("joined", clients=2) == joined
    assert event("left", clients=1) == heard


@pytest.mark.gen_test
async def test_a_plain_request_is_refused(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Without an upgrade there is nothing to see at /chat."""
    response = await http_client.fetch(f"{base_url}/chat", raise_error=False)

    assert 400 == response.code
