"""One request on a connection of its own. Blocking. Runs in: tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Response:
    """What a service answered."""

    status: int
    headers: http.client.HTTPMessage
    """By name, in any case: ``headers["content-type"]``."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)


def connection_to(
    host: str, port: int, *, tls: bool, timeout_s: float
) -> http.client.HTTPConnection:
    """Return a connection that opens when it is used. Certificates of tests are not verified."""
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)


def fetch(url: str, *, headers: Mapping[str, str], timeout_s: float) -> Response:
    """Return the answer to one GET, whatever its status.

    Raises: OSError, http.client.HTTPException: there was no answer.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = connection_to(
        parts.hostname or "", parts.port or 0, tls=parts.scheme == "https", timeout_s=timeout_s
    )
    with contextlib.closing(connection):
        connection.request("GET", target, headers={"Connection": "close", **headers})
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
