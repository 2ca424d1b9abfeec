"""Downloads: every byte is known."""

import asyncio
import logging

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.tcpclient import TCPClient

from demo_app.downloads import CHUNK, MAX_DOWNLOAD_BYTES, DownloadHandler, deterministic_chunks


def known_bytes(size_bytes: int) -> bytes:
    """Return what a download of this size must be, said another way."""
    return bytes(offset % 251 for offset in range(size_bytes))


SIZES_BYTES = [0, 1, 250, 251, 252, len(CHUNK) - 1, len(CHUNK), len(CHUNK) + 1, 300_000]


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_chunks_join_to_the_known_bytes(size_bytes: int) -> None:
    """The byte at offset i is i modulo 251, across the seams of chunks."""
    chunks = list(deterministic_chunks(size_bytes))

    assert known_bytes(size_bytes) == b"".join(chunks)
    assert all(1 <= len(chunk) <= len(CHUNK) for chunk in chunks)


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
@pytest.mark.gen_test
async def test_a_download_is_exactly_its_bytes(
    http_client: AsyncHTTPClient, base_url: str, size_bytes: int
) -> None:
    """The length is announced, and the body is the known bytes."""
    response = await http_client.fetch(f"{base_url}/download?size_bytes={size_bytes}")

    assert str(size_bytes) == response.headers["Content-Length"]
    assert "application/octet-stream" == response.headers["Content-Type"]
    assert known_bytes(size_bytes) == response.body


@pytest.mark.gen_test
async def test_the_default_is_one_mebibyte(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Without a size there is something to see."""
    response = await http_client.fetch(f"{base_url}/download")

    assert 1_048_576 == len(response.body)


@pytest.mark.parametrize("size_bytes", ["-1", "x", "1.5", str(MAX_DOWNLOAD_BYTES + 1)])
@pytest.mark.gen_test
async def test_the_size_has_bounds(
    http_client: AsyncHTTPClient, base_url: str, size_bytes: str
) -> None:
    """Anything but 0 to 1 GiB is refused."""
    response = await http_client.fetch(
        f"{base_url}/download?size_bytes={size_bytes}", raise_error=False
    )

    assert 400 == response.code
    assert "must be an integer from 0 to 1073741824" in response.body.decode()


@pytest.mark.usefixtures("http_server")
@pytest.mark.gen_test
async def test_a_download_ends_when_the_client_leaves(
    http_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that goes away in the middle ends the stream, and is no error in the log."""
    finished = asyncio.Event()
    monkeypatch.setattr(DownloadHandler, "on_finish", lambda _handler: finished.set())
    stream = await TCPClient().connect("127.0.0.1", http_port)
    await stream.write(b"GET /download?size_bytes=1073741824 HTTP/1.1\r\nHost: demo\r\n\r\n")
    await stream.read_until(b"\r\n\r\n")
    assert not finished.is_set()

    stream.close()
    await finished.wait()

    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
