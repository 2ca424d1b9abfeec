"""What a provider sends back: where a reply ends, and what it says. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from tornado_multi.dubbo.errors import (
    BadArgumentError,
    BadReplyError,
    DubboError,
    NoSuchMethodError,
    NoSuchServiceError,
    NotAllowedError,
    RefusedError,
    RemoteError,
)
from tornado_multi.dubbo.frames import MAGIC, MOST_BODY_BYTES, READ_ONLY

DEFAULT_PROMPT = b"dubbo>"
_HEADER_BYTES = 16
_MOST_EVENT_BYTES = 1024
_EVENT_FLAG = 0x20


class ReplyReader:
    """Cuts what arrives into replies; one command may be under way.

    Old providers send binary heartbeats into text connections: they are taken out where they can
    be, ahead of a reply and between two.
    """

    def __init__(
        self, prompt: bytes = DEFAULT_PROMPT, most_reply_bytes: int = MOST_BODY_BYTES
    ) -> None:
        self.prompt = prompt
        self._end = b"\r\n" + prompt
        self._most_reply_bytes = most_reply_bytes
        self._held = bytearray()
        self.heartbeats = 0
        """How many were taken out."""
        self.wants_no_more_calls = False
        """The provider has said that it will stop."""

    @property
    def leftover(self) -> bytes:
        """What has come and is no whole reply."""
        return bytes(self._held)

    def is_clean(self) -> bool:
        """Tell whether nothing is left over: a reply that comes now belongs to the next command."""
        return not self._held

    def feed(self, data: bytes) -> bytes | None:
        """Take in what arrived. Returns: a whole reply without its prompt; None: it goes on.

        Raises: BadReplyError: it is larger than allowed, or followed by what nobody asked for.
        """
        self._held += data
        self._note(take_events(self._held))
        end = _begin_of_last_events(self._held)
        if end < len(self._held) and self._held.endswith(self._end, 0, end):
            self._note(take_events(last := self._held[end:]))
            del self._held[end:]
            assert not last
        if self._held == self.prompt:
            self._held.clear()
            return b""
        if self._held.endswith(self._end):
            reply = bytes(self._held[: -len(self.prompt)])
            self._held.clear()
            return reply
        if len(self._held) > self._most_reply_bytes:
            text = f"A reply has more than {self._most_reply_bytes} bytes."
            raise BadReplyError(text)
        return None

    def _note(self, events: list[bytes]) -> None:
        for body in events:
            if body == READ_ONLY:
                self.wants_no_more_calls = True
            else:
                self.heartbeats += 1


def _begin_of_last_events(held: bytearray) -> int:
    """Return where the whole events begin with which what arrived ends: its length if with none."""
    begin = len(held)
    while True:
        at = next((at for at in _begins_of_event(begin) if _is_event(held, at, begin)), None)
        if at is None:
            return begin
        begin = at


def _begins_of_event(end: int) -> tuple[int, int]:
    """Return where an event that ends there may begin: a heartbeat, or the one body that is longer."""
    return end - _HEADER_BYTES - 1, end - _HEADER_BYTES - len(READ_ONLY)


def _is_event(held: bytearray, begin: int, end: int) -> bool:
    if begin < 0 or not held.startswith(MAGIC, begin) or not held[begin + 2] & _EVENT_FLAG:
        return False
    length = int.from_bytes(held[begin + 12 : begin + _HEADER_BYTES], "big")
    return length == end - begin - _HEADER_BYTES


def take_events(held: bytearray) -> list[bytes]:
    """Take heartbeats and other events off the beginning of what arrived, and return their bodies.

    Raises: BadReplyError: a binary frame that is no event.
    """
    bodies = []
    while held.startswith(MAGIC) and len(held) >= _HEADER_BYTES:
        length = int.from_bytes(held[12:_HEADER_BYTES], "big")
        if not held[2] & _EVENT_FLAG or length > _MOST_EVENT_BYTES:
            raise BadReplyError("A binary frame that is no event came into a text connection.")
        end = _HEADER_BYTES + length
        if len(held) < end:
            break
        bodies.append(bytes(held[_HEADER_BYTES:end]))
        del held[:end]
    return bodies


_PREFACE = re.compile(r"(?:\r\n)?(?:Use default service (?P<service>\S*)\.\r\n)?(?:\r\n)?")
_SUCCESS = re.compile(r"(?:result: )?(?P<value>[^\r\n]*)\r\nelapsed: \d+ ms\.(?:\r\n)?")
"""QoS leaves the last line end out when it answers over HTTP."""
_FAILED = re.compile(r"Failed to invoke method \S*, cause: (?P<thrown>[\w.$]+.*)", re.DOTALL)
_THROWN = re.compile(r"(?P<class>[\w.$]+)(?:: (?P<message>.*))?", re.DOTALL)
_TRACE = re.compile(r"\n[ \t]*at ")
_CAUSE = re.compile(r"^Caused by: (?P<thrown>.*?)(?=\n[ \t]*at |\Z)", re.DOTALL | re.MULTILINE)
_COVER = "java.lang.reflect.InvocationTargetException"
"""2.7 and later call methods by reflection, which covers what they raise."""
_JAVA_TRACE_OF_FASTJSON = "com/alibaba/fastjson/JSON"

_ADVICE: list[tuple[re.Pattern[str], type[DubboError], str]] = [
    (
        re.compile("Unsupported command: invoke"),
        NotAllowedError,
        "From 3.0.2 on the service port has no invoke: use QoS or the binary protocol.",
    ),
    (
        re.compile(r"Command: \S+ disabled"),
        NotAllowedError,
        "The provider must list it: dubbo.protocol.telnet=ls,invoke,status. Or use the binary protocol.",
    ),
    (
        re.compile("Unsupported command: "),
        NotAllowedError,
        "This version of the provider does not have it.",
    ),
    (
        re.compile(r"Foreign Ip Not Permitted|.*:permission deny", re.DOTALL),
        NotAllowedError,
        "QoS lets this address not in: look at dubbo.application.qos-accept-foreign-ip-whitelist.",
    ),
    (
        re.compile("No such service:? |Failed to find service|service not found"),
        NoSuchServiceError,
        "ls shows what the provider exports.",
    ),
    (
        re.compile("No such method "),
        NoSuchMethodError,
        "The number or the types of the arguments may be others; an object needs a key class.",
    ),
    (
        re.compile("Methods:\r\n"),
        NoSuchMethodError,
        (
            "There are several of that name: give objects a key class, or use the binary protocol, "
            "which takes the types."
        ),
    ),
    (
        re.compile("Invalid json argument, cause: .*" + _JAVA_TRACE_OF_FASTJSON, re.DOTALL),
        RefusedError,
        "The provider lacks the library fastjson: add it there, or use the binary protocol.",
    ),
    (re.compile("Invalid json argument"), BadArgumentError, "An object's key class may be wrong."),
    (
        re.compile("Invalid parameters, format"),
        BadArgumentError,
        "The provider reads arguments up to another place; use the binary protocol.",
    ),
    (
        re.compile("Not found class "),
        BadArgumentError,
        "The key class names a class that the provider does not have.",
    ),
    (
        re.compile("Please input method name|If you want to invoke like"),
        NoSuchServiceError,
        "Name the service.",
    ),
    (
        re.compile(r".*:no such command|.*:fail to execute", re.DOTALL),
        RefusedError,
        "Look at the provider's log.",
    ),
]


def decode_reply(reply: bytes, charset: str) -> str:
    """Return a whole reply as text.

    Raises: BadReplyError: it is not in this charset.
    """
    try:
        return reply.decode(charset)
    except UnicodeDecodeError as error:
        text = (
            f"The reply is not in {charset}: {error}. Up to 2.5.8, and in 2.6.0, providers use GBK: "
            "set charset='gbk'."
        )
        raise BadReplyError(text) from error


def parse_invoke(text: str, name: str) -> Any:
    """Return what a call returned.

    Args: text: a whole reply. name: of the service and method, for error texts.
    Raises: RemoteError: the method raised. RefusedError and its kinds, BadArgumentError: by what the
        provider says. BadReplyError: it is no reply to a call.
    """
    preface = _PREFACE.match(text)
    rest = text if preface is None else text[preface.end() :]
    success = _SUCCESS.fullmatch(rest)
    if success is not None:
        try:
            value = json.loads(success["value"])
        except (ValueError, RecursionError) as error:
            text = f"{name}: the result is no JSON: {success['value']!r:.200}."
            raise BadReplyError(text) from error
        if '"$ref"' in success["value"] and _has_reference(value):
            text = (
                f"{name}: the result names parts that it has more than once by their path ($ref), "
                "as the library fastjson does. Use the binary protocol."
            )
            raise BadReplyError(text)
        return value
    raise failure(rest, name)


def _has_reference(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.keys() == {"$ref"}:
                return True
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return False


def failure(text: str, name: str) -> DubboError:
    """Return the error that a reply means which is no success."""
    said = text.strip()
    thrown = _FAILED.match(said)
    if thrown is not None:
        return _remote_error(thrown["thrown"])
    known = refusal(said, name)
    if known is not None:
        return known
    if said == "null":
        text = "the provider could not match a null argument (a fault of 2.5.7 to 2.6.3)"
        return NoSuchMethodError(f"{name}: {text}.")
    return BadReplyError(f"{name}: the reply is none that is known: {said!r:.300}.")


def refusal(text: str, name: str) -> DubboError | None:
    """Return the error if a reply to any command is one of the texts that refuse it."""
    said = text.strip()
    for pattern, kind, advice in _ADVICE:
        if pattern.match(said):
            return kind(f"{name}: the provider says: {said:.300}\n{advice}")
    return None


def _remote_error(text: str) -> RemoteError:
    """Return the error for an exception as Java prints it, with its trace."""
    said, *trace = _TRACE.split(text, maxsplit=1)
    lines = f"at {trace[0]}" if trace else ""
    middle = len(said) // 2
    if said[middle : middle + 1] == "\n" and said[:middle] == said[middle + 1 :]:
        said = said[:middle]  # the first line of the trace says it again
    cause = _CAUSE.search(lines) if said == _COVER else None
    if cause is not None:
        said = cause["thrown"]
    thrown = _THROWN.fullmatch(said)
    if thrown is None:
        return RemoteError("", said, lines)
    return RemoteError(thrown["class"], (thrown["message"] or "").strip(), lines)


def leaves_connection_in_doubt(text: str) -> bool:
    """Tell whether more of this reply may follow: an exception's message may hold the prompt."""
    return "Failed to invoke method" in text
