"""Says what it was told of a request by the proxy before it."""

from __future__ import annotations

import asyncio

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

import tornado_multi


class Who(RequestHandler):
    def get(self) -> None:
        request = self.request
        self.write(
            {
                "fork_id": tornado_multi.fork_id(),
                "remote_ip": request.remote_ip,
                "protocol": request.protocol,
                "host": request.host,
                "headers": {name.lower(): value for name, value in request.headers.get_all()},
            }
        )

    def post(self) -> None:
        self.write({"size": len(self.request.body)})


class Events(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")
        self.write("data: first\n\n")
        await self.flush()
        await asyncio.Event().wait()


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app() -> Application:
    return Application([("/echo", Echo), ("/events", Events), (".*", Who)])
