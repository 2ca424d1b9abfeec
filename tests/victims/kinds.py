"""Every kind of thing that module:attr may name."""

from __future__ import annotations

import os

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from tornado.web import Application, RequestHandler


class Pid(RequestHandler):
    def get(self) -> None:
        self.write(str(os.getpid()))


application = Application([("/", Pid)])


async def make_app_async() -> Application:
    return Application([("/", Pid)])


class Holder:
    @staticmethod
    def make() -> Application:
        return Application([("/", Pid)])


def callback(request: HTTPServerRequest) -> None:
    body = str(os.getpid()).encode()
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    start_line = ResponseStartLine("HTTP/1.1", 200, "OK")
    request.connection.write_headers(start_line, headers, body)
    request.connection.finish()


class _Answer(HTTPMessageDelegate):
    def __init__(self, connection: object) -> None:
        self._connection = connection

    def finish(self) -> None:
        body = str(os.getpid()).encode()
        headers = HTTPHeaders({"Content-Length": str(len(body))})
        start_line = ResponseStartLine("HTTP/1.1", 200, "OK")
        self._connection.write_headers(start_line, headers, body)
        self._connection.finish()


class Delegate(HTTPServerConnectionDelegate):
    def start_request(self, server_conn: object, request_conn: object) -> HTTPMessageDelegate:
        return _Answer(request_conn)


delegate = Delegate()
nothing = None
number = 7


def returns_nothing() -> None:
    return None
