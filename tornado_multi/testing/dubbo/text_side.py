"""What a provider answers to text. Runs in: tests and demos, on the provider's loop."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tornado_multi.testing.dubbo import services as sv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado_multi.testing.dubbo.dialects import Dialect

_MAGIC = b"\xda\xbb"
_INVOKE = re.compile(r"invoke (?:(?P<service>[^(]*)\.)?(?P<method>[^.(]*)\((?P<args>.*)", re.DOTALL)


class TextSide:
    """One connection's reading of text, faults of the real ones included."""

    def __init__(self, dialect: Dialect, services: Mapping[str, Any]) -> None:
        self._dialect = dialect
        self._services = services
        self._held = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the commands that are whole now.

        The service port takes all that has come for one command; QoS goes by lines.
        """
        self._held += data
        cut = self._held.find(_MAGIC, 1)
        if cut >= 0 and not self._dialect.is_qos:
            self._held = b""  # what follows is read as a binary frame that never ends
            return []
        if not self._held.endswith(b"\n") or len(self._held) < self._dialect.least_bytes:
            return []
        whole, self._held = self._held, b""
        if not self._dialect.is_qos:
            return [whole.decode(self._dialect.charset, "replace").strip()]
        most = self._dialect.most_line_bytes or len(whole)
        return [line.decode().strip() for line in whole.split(b"\n")[:-1] if len(line) <= most]

    async def answer(self, command: str) -> bytes:
        """Return the bytes of the reply to a command."""
        prompt = self._dialect.prompt
        if "--no-prompt" in command:
            command, prompt = command.replace("--no-prompt", "").strip(), ""
        result = await self._result(command) if command else None
        text = prompt if result is None else f"{result}\r\n{prompt}"
        return text.encode(self._dialect.charset, "replace")

    async def _result(self, command: str) -> str:
        word = command.partition(" ")[0]
        match word:
            case "ls":
                return self._list(command)
            case "pwd":
                return "/"
            case "status":
                return "OK"
            case "invoke" if self._dialect.has_invoke:
                return await self._invoke(command)
        if self._dialect.is_qos:
            return f"{command} :no such command"
        return self._dialect.refusal.format(command=command if word == command else word)

    def _list(self, command: str) -> str:
        name = command.removeprefix("ls").removeprefix(" -l").strip()
        if not name:
            return "\r\n".join(self._services)
        service = self._services.get(name)
        if service is None:
            return f"No such service {name}"
        return "\r\n".join(sv.signatures(service))

    async def _invoke(self, command: str) -> str:
        try:
            service, method, args = self._read_invoke(command)
        except ValueError as error:
            return str(error)
        later = self._dialect.has_result_prefix
        preface = f"Use default service {service}.\r\n" if later else ""
        try:
            function = sv.find_method(self._services, service, method, args, by_values=True)
            value = await sv.call(function, args)
        except sv.NoSuchServiceHereError:
            return f"No such service {service}"
        except sv.NoSuchMethodHereError:
            return f"{preface}No such method {method} in service {service}"
        except sv.AmbiguousHereError as error:
            return _choice(method, error.args)
        except Exception as error:  # noqa: BLE001 - whatever a method of a test does
            return f"{preface}Failed to invoke method {method}, cause: {self._trace(method, error)}"
        result = json.dumps(
            _plain(value), ensure_ascii=False, separators=(",", ":"), default=self._as_fastjson
        )
        return f"{preface}{'result: ' if later else ''}{result}\r\nelapsed: 0 ms."

    def _as_fastjson(self, value: Any) -> Any:
        match value:
            case bytes() if self._dialect.has_bytes_as_list:
                return list(value)
            case bytes():
                return base64.b64encode(value).decode()
            case datetime():
                return round(value.timestamp() * 1000)
            case Decimal():
                return float(value)
        raise TypeError(f"{type(value).__name__} has no form in JSON")

    def _trace(self, method: str, error: Exception) -> str:
        """Return a Java trace; 2.7 and later call by reflection, which covers what was raised."""
        at = f"\n\tat com.example.{method}(AccountServiceImpl.java:1)"
        said = str(error) if isinstance(error, sv.JavaException) else f"java.lang.Error: {error}"
        if not self._dialect.has_result_prefix:
            return f"{said}\n{said}{at}"
        cover = "java.lang.reflect.InvocationTargetException"
        return f"{cover}\n{cover}{at}\nCaused by: {said}{at}"

    def _read_invoke(self, command: str) -> tuple[str, str, list[Any]]:
        """Return service, method and arguments. Raises: ValueError: with what the provider says."""
        if self._dialect.cuts_at_first_space:
            command = " ".join(command.split(" ")[:2])
        match = _INVOKE.fullmatch(command)
        inner, bracket, rest = ("", "", "") if match is None else match["args"].partition(")")
        if match is not None and not self._dialect.ends_arguments_at_first_bracket:
            inner, bracket, rest = match["args"].rpartition(")")
        if (
            match is None
            or not bracket
            or (rest and not self._dialect.ends_arguments_at_first_bracket)
        ):
            raise ValueError("Invalid parameters, format: service.method(args)")
        try:
            args = json.loads(f"[{inner}]")
        except ValueError as error:
            raise ValueError(f"Invalid json argument, cause: {error}") from None
        if self._dialect.fails_at_null_arguments and None in args:
            raise ValueError("null")
        return match["service"] or "", match["method"], args


def _choice(method: str, overloads: tuple[tuple[str, ...], ...]) -> str:
    lines = [
        f"{number}. {method}({','.join(name.rpartition('.')[2] for name in types)})"
        for number, types in enumerate(overloads, start=1)
    ]
    ask = "Please use the select command to select the method you want to invoke. eg: select 1"
    return "\r\n".join(["Methods:", *lines, ask])


def _plain(value: Any) -> Any:
    """Return a value as it is in JSON: without the names of classes, which fastjson leaves out."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items() if key != "class"}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value
