"""Streaming uploads into a file of their own, with the hash computed in an executor of the worker.

The executor is made at import, as people do, and starts no thread before it has something to do.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor

from tornado.concurrent import run_on_executor
from tornado.web import Application, RequestHandler, stream_request_body

logger = logging.getLogger(__name__)
EXECUTOR = ThreadPoolExecutor(2, thread_name_prefix="hashing")
MAX_UPLOAD_BYTES = 1 << 30


@stream_request_body
class Upload(RequestHandler):
    executor = EXECUTOR

    def prepare(self) -> None:
        self.request.connection.set_max_body_size(MAX_UPLOAD_BYTES)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the request has ended
        self.hash = hashlib.sha256()

    async def data_received(self, chunk: bytes) -> None:
        await self.take(chunk)

    @run_on_executor
    def take(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.hash.update(chunk)

    def put(self) -> None:
        size = self.file.tell()
        logger.info("an upload of %d bytes", size)
        self.write({"size_bytes": size, "sha256": self.hash.hexdigest()})

    def on_finish(self) -> None:
        self.file.close()

    on_connection_close = on_finish


def make_app() -> Application:
    return Application([("/upload", Upload)])
