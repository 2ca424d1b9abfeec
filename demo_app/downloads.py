"""Downloads of any size, whose every byte can be told in advance."""

from collections.abc import Iterator

from tornado.iostream import StreamClosedError

from demo_app.handler import DemoHandler

DEFAULT_DOWNLOAD_BYTES = 1024**2
MAX_DOWNLOAD_BYTES = 1024**3

PERIOD_BYTES = 251
"""Prime, so that no power of two divides it and a misplaced block of a buffer shows."""

CHUNK = bytes(range(PERIOD_BYTES)) * 256
"""About 64 KiB; ends on a whole period, so each chunk continues the one before it."""


def deterministic_chunks(size_bytes: int) -> Iterator[bytes]:
    """Yield *size_bytes* bytes in chunks; the byte at offset i is ``i % 251``."""
    whole_chunks, rest_bytes = divmod(size_bytes, len(CHUNK))
    for _ in range(whole_chunks):
        yield CHUNK
    if rest_bytes:
        yield CHUNK[:rest_bytes]


class DownloadHandler(DemoHandler):
    """GET /download?size_bytes=N."""

    async def get(self) -> None:
        """Stream the bytes, each chunk after the client has taken the one before."""
        size_bytes = self.query_number(
            "size_bytes", int, default=DEFAULT_DOWNLOAD_BYTES, lowest=0, highest=MAX_DOWNLOAD_BYTES
        )
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(size_bytes))
        for chunk in deterministic_chunks(size_bytes):
            self.write(chunk)
            try:
                await self.flush()
            except StreamClosedError:
                return
