"""Uploads: counted, hashed, and never kept."""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.tcpclient import TCPClient

from demo_app.uploads import MAX_UPLOAD_BYTES

MIB = 1024**2


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 5 * MIB + 1])
@pytest.mark.gen_test
async def test_the_answer_is_length_and_hash(
    http_client: AsyncHTTPClient, base_url: str, method: str, size_bytes: int
) -> None:
    """A body of known length is told back by its bytes and its sha256."""
    body = os.urandom(size_bytes)

    response = await http_client.fetch(f"{base_url}/upload", method=method, body=body)

    expected = {
        "size_bytes": size_bytes,
        "sha256": hashlib.sha256(body).hexdigest(),
        "pid": os.getpid(),
        "fork_id": None,
    }

    assert expected == json.loads(response.body)


@pytest.mark.gen_test
async def test_a_body_in_chunks_is_counted_whole(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    """A body whose length is not announced is taken as it comes, several MiB of it."""
    chunks = [os.urandom(MIB // 2 + number) for number in range(9)]

    async def send(write: Callable[[bytes], Awaitable[None]]) -> None:
        for chunk in chunks:
            await write(chunk)

    response = await http_client.fetch(
        f"{base_url}/upload", method="POST", body_producer=send, request_timeout=5
    )

    answer = json.loads(response.body)

    assert sum(map(len, chunks)) == answer["size_bytes"]
    assert hashlib.sha256(b"".join(chunks)).hexdigest() == answer["sha256"]


@pytest.mark.gen_test
async def test_a_form_is_hashed_as_bytes(http_client: AsyncHTTPClient, base_url: str) -> None:
    """No content type is parsed: what was sent is what is hashed."""
    body = b"a=1&b=2"
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    response = await http_client.fetch(f"{base_url}/upload", method="POST", body=body, headers=form)

    assert hashlib.sha256(body).hexdigest() == json.loads(response.body)["sha256"]


@pytest.mark.parametrize("size_bytes", [9, 10])
@pytest.mark.gen_test
async def test_a_body_up_to_the_limit_is_taken(
    http_client: AsyncHTTPClient, base_url: str, size_bytes: int
) -> None:
    """The limit itself is allowed."""
    response = await http_client.fetch(
        f"{base_url}/upload?limit_bytes=10", method="POST", body=b"x" * size_bytes
    )

    assert size_bytes == json.loads(response.body)["size_bytes"]


@pytest.mark.gen_test
async def test_a_body_above_the_limit_is_413(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The announced length decides, and the answer says how much is taken."""
    response = await http_client.fetch(
        f"{base_url}/upload?limit_bytes=10", method="POST", body=b"x" * 11, raise_error=False
    )

    assert 413 == response.code
    assert "body of 11 bytes: at most 10 bytes are taken" in response.body.decode()


@pytest.mark.usefixtures("http_server")
@pytest.mark.gen_test
async def test_more_than_a_gibibyte_is_refused_before_it_is_sent(http_port: int) -> None:
    """A client that asks with 100-continue is refused without sending its body."""
    stream = await TCPClient().connect("127.0.0.1", http_port)
    head = f"PUT /upload HTTP/1.1\r\nHost: demo\r\nContent-Length: {MAX_UPLOAD_BYTES + 1}\r\n"

    await stream.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
    answer = await stream.read_until_close()

    assert answer.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")


@pytest.mark.usefixtures("http_server")
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Transfer-Encoding: chunked", b"b\r\nhello world\r\n0\r\n\r\n"),
        ("Content-Length: eleven", b""),
        ("Content-Length: -1", b""),
    ],
)
@pytest.mark.gen_test
async def test_what_only_tornado_can_see_is_400(http_port: int, framing: str, body: bytes) -> None:
    """A body that grows beyond its limit, or has no sane length, ends the connection."""
    stream = await TCPClient().connect("127.0.0.1", http_port)
    head = f"POST /upload?limit_bytes=10 HTTP/1.1\r\nHost: demo\r\n{framing}\r\n\r\n"

    await stream.write(head.encode() + body)
    answer = await stream.read_until_close()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("limit_bytes", ["0", "-1", "x", str(MAX_UPLOAD_BYTES + 1)])
@pytest.mark.gen_test
async def test_the_limit_has_bounds(
    http_client: AsyncHTTPClient, base_url: str, limit_bytes: str
) -> None:
    """Nobody may ask for more than 1 GiB, or for nothing."""
    response = await http_client.fetch(
        f"{base_url}/upload?limit_bytes={limit_bytes}", method="POST", body=b"", raise_error=False
    )

    assert 400 == response.code
    assert "must be an integer from 1 to 1073741824" in response.body.decode()
