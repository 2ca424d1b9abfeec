"""Uploads: the body is counted and hashed while it comes in, and never kept."""

import hashlib
from typing import TYPE_CHECKING, cast

from tornado.web import stream_request_body

from demo_app.handler import DemoHandler, RequestRefusedError
from demo_app.identity import identity

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

MAX_UPLOAD_BYTES = 1024**3


@stream_request_body
class UploadHandler(DemoHandler):
    """POST or PUT /upload?limit_bytes=N, any content type; the body is taken as it is."""

    def initialize(self) -> None:
        """Start with an empty body."""
        self.received_bytes = 0
        self.sha256 = hashlib.sha256()

    def prepare(self) -> None:
        """Fix how large this body may be, before any of it is read.

        A body that announces more is refused with 413. One that comes in chunks and grows beyond
        the limit is cut by Tornado: 400, and the connection is closed.
        """
        limit_bytes = self.query_number(
            "limit_bytes", int, default=MAX_UPLOAD_BYTES, lowest=1, highest=MAX_UPLOAD_BYTES
        )
        # The interface that Tornado declares for a connection leaves this method out.
        cast("HTTP1Connection", self.request.connection).set_max_body_size(limit_bytes)
        try:
            announced_bytes = int(self.request.headers.get("Content-Length", "0"))
        except ValueError:
            return  # Tornado refuses such a header itself, when it turns to the body.
        if announced_bytes > limit_bytes:
            message = f"body of {announced_bytes} bytes: at most {limit_bytes} bytes are taken"
            raise RequestRefusedError(413, message)

    def data_received(self, chunk: bytes) -> None:
        """Count and hash one piece of the body, and forget it."""
        self.received_bytes += len(chunk)
        self.sha256.update(chunk)

    def post(self) -> None:
        """Answer ``{"size_bytes": int, "sha256": hex, "pid": int, "fork_id": int | null}``."""
        digest = self.sha256.hexdigest()
        self.write({"size_bytes": self.received_bytes, "sha256": digest, **identity()})

    def put(self) -> None:
        """Answer as POST does."""
        self.post()
