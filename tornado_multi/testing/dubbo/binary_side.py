"""What a provider answers to binary requests. Runs in: tests and demos, on the provider's loop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tornado_multi.dubbo.frames import (
    Frame,
    FrameReader,
    Status,
    encode_frame,
    heartbeat_answer,
)
from tornado_multi.dubbo.hessian import HessianError, JavaObject, Reader, Writer
from tornado_multi.testing.dubbo import services as sv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PARAMETER = re.compile(r"\[*(?:L[^;]+;|[A-Z])")
_EXCEPTION, _VALUE, _NULL = 3, 4, 5
"""Kinds of answers that have attachments."""
_RPC = "org.apache.dubbo.rpc.RpcException"
_GENERIC = "org.apache.dubbo.rpc.service.GenericException"


class BinarySide:
    """One connection's requests."""

    def __init__(self, services: Mapping[str, Any]) -> None:
        self._services = services
        self._reader = FrameReader()
        self.heartbeats = 0
        """How many of ours were answered, and of theirs were asked."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each request that is whole now; events are answered by ``answer`` as well."""
        for frame in self._reader.feed(data):
            if frame.is_event:
                self.heartbeats += 1
            if frame.is_request:
                yield frame

    async def answer(self, frame: Frame) -> bytes:
        """Return the bytes of the answer to a request; none if it wants none."""
        if not frame.is_two_way:
            return b""
        if frame.is_event:
            return heartbeat_answer(frame)
        status, values = await self._outcome(frame.body)
        writer = Writer()
        try:
            for value in values:
                writer.write(value)
        except HessianError as error:
            status, writer = Status.BAD_RESPONSE, Writer()
            writer.write(f"java.lang.IllegalStateException: {error}")
        return encode_frame(
            Frame(frame.id, bytes(writer.out), is_request=False, status=int(status))
        )

    async def _outcome(self, body: bytes) -> tuple[Status, list[Any]]:
        """Return the status and the values of an answer."""
        try:
            service, method, args, attachments = read_call(body)
        except HessianError as error:
            return Status.BAD_REQUEST, [str(error)]
        try:
            value = await self._call(service, method, args, attachments)
        except sv.JavaException as error:
            return Status.OK, [_EXCEPTION, _generic(error), _told(attachments)]
        except Exception as error:  # noqa: BLE001 - whatever a method of a test does
            return Status.SERVICE_ERROR, [_trace(error, service, sorted(self._services))]
        told = _told(attachments)
        return Status.OK, [_NULL, told] if value is None else [_VALUE, value, told]

    async def _call(
        self, service: str, method: str, args: list[Any], attachments: dict[str, Any]
    ) -> Any:
        types = None
        if method == "$echo":
            return args[0]
        if method == "$invoke":
            method, types, args = args
        if attachments.get("version", "0.0.0") != "0.0.0" or "group" in attachments:
            key = f"{attachments.get('group', '')}/{service}:{attachments.get('version')}"
            if key.lstrip("/") not in self._services:
                raise sv.NoSuchServiceHereError(key)
            service = key.lstrip("/")
        return await sv.call(sv.find_method(self._services, service, method, args, types), args)


def _trace(error: Exception, service: str, exported: list[str]) -> str:
    """Return what a provider says when it has not come to calling the method."""
    match error:
        case sv.NoSuchServiceHereError():
            text = f"Not found exported service: {error} in {exported}"
            return f"org.apache.dubbo.remoting.RemotingException: {text}"
        case sv.NoSuchMethodHereError():
            return f"{_RPC}: No such method {error} in class interface {service}"
        case sv.AmbiguousHereError():
            text = f"in class({service}), find {len(error.args)} methods."
            return f"java.lang.IllegalStateException: Not unique method for method name(x) {text}"
        case sv.WrongArgumentHereError():
            place = "org.apache.dubbo.common.utils.PojoUtils.realize0(PojoUtils.java:512)"
            return f"{_RPC}: {error}\n\tat {place}"
    return f"java.lang.RuntimeException: {type(error).__name__}: {error}"


def read_call(body: bytes) -> tuple[str, str, list[Any], dict[str, Any]]:
    """Return service, method, arguments and attachments. Raises: HessianError."""
    reader = Reader(body)
    _, service, _, method, descriptor = (reader.read() for _ in range(5))
    args = [reader.read() for _ in _PARAMETER.findall(descriptor)]
    return service, method, args, reader.read()


def _told(attachments: Mapping[str, Any]) -> dict[str, str]:
    """Return what goes back with an answer: what the caller has sent of its own, and the version."""
    ours = {"path", "interface", "version", "timeout", "generic", "group"}
    return {"dubbo": "2.0.2", **{key: v for key, v in attachments.items() if key not in ours}}


def _generic(error: sv.JavaException) -> JavaObject:
    fields = {"exceptionClass": error.class_name, "exceptionMessage": error.message}
    return JavaObject(_GENERIC, {**fields, "stackTrace": []})
