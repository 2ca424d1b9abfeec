"""Long uploads, downloads, event streams and websockets, polite and deaf ones."""

from __future__ import annotations

import asyncio
import hashlib
import os

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

import tornado_multi

CHUNK = bytes(range(256)) * 256  # 64 KiB


class Pid(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(float(self.get_argument("s", "0")))
        self.write(self.get_argument("say", str(os.getpid())))

    async def post(self) -> None:
        self.write(str(len(self.request.body)))


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 30)
        self.hash = hashlib.sha256()

    def data_received(self, chunk: bytes) -> None:
        self.hash.update(chunk)

    def put(self) -> None:
        self.write(self.hash.hexdigest())


class Download(RequestHandler):
    async def get(self) -> None:
        chunks = int(self.get_argument("chunks"))
        self.set_header("Content-Length", str(chunks * len(CHUNK)))
        for _ in range(chunks):
            self.write(CHUNK)
            await self.flush()


class Early(RequestHandler):
    """Answers 2 MB before it has read the body."""

    def prepare(self) -> None:
        self.set_header("Content-Length", str(32 * len(CHUNK)))
        for _ in range(32):
            self.write(CHUNK)
        self.finish()

    def put(self) -> None:
        raise AssertionError


Early = stream_request_body(Early)
Early.data_received = lambda self, chunk: None


class Events(RequestHandler):
    """An event stream; polite=1 waits for draining(), hook=1 has on_drain, else it is deaf."""

    async def get(self) -> None:
        kind = self.get_argument("kind")
        self.set_header("Content-Type", "text/event-stream")
        if kind == "hook":
            self.on_drain = self.say_goodbye
        self.write("data: hello\n\n")
        await self.flush()
        if kind == "polite":
            await tornado_multi.draining()
            self.write("data: goodbye\n\n")
        else:
            self.left = asyncio.Event()
            await self.left.wait()

    async def say_goodbye(self) -> None:
        self.write("data: goodbye from the hook\n\n")
        self.left.set()

    def on_connection_close(self) -> None:
        if hasattr(self, "left"):
            self.left.set()


class Endless(RequestHandler):
    """A response without a length that is no event stream."""

    async def get(self) -> None:
        self.write("part of a download")
        await self.flush()
        while True:
            await asyncio.sleep(0.05)
            self.write("more")
            try:
                await self.flush()
            except StreamClosedError:
                return


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class OwnGoodbye(Echo):
    def on_drain(self) -> None:
        self.close(4001, "my own words")


def make_app() -> Application:
    return Application(
        [
            ("/", Pid),
            ("/upload", Upload),
            ("/download", Download),
            ("/early", Early),
            ("/events", Events),
            ("/endless", Endless),
            ("/echo", Echo),
            ("/own", OwnGoodbye),
        ]
    )
