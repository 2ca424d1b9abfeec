"""The commands' side of the control socket. Blocking. Runs in: commands."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado_multi.control import locate
from tornado_multi.control.protocol import (
    MAX_REPLY_BYTES,
    PEER_CREDENTIALS,
    ReplyError,
    Request,
    decode_reply,
    encode_request,
)
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.settings.model import ControlSettings

REPLY_TIMEOUT_S = 10.0


class ControlError(Exception):
    """A command can't do its work; carries the sentence and the exit code."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(slots=True)
class Connection:
    """One connection to one supervisor."""

    sock: socket.socket
    path: Path
    pid: int
    """The supervisor's, as the kernel says."""

    def ask(
        self, request: Request, *, timeout_s: float | None = REPLY_TIMEOUT_S
    ) -> Iterator[dict[str, Any]]:
        """Send one request and yield its replies until the supervisor closes.

        Raises: ControlError: no answer in *timeout_s*, or an answer that is none.
        """
        self.sock.settimeout(timeout_s)
        buffer = b""
        try:
            # A supervisor that refuses us (too many clients) says why and closes before it reads.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.sock.sendall(encode_request(request))
            while data := self.sock.recv(65536):
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    yield decode_reply(line)
                if len(buffer) > MAX_REPLY_BYTES:
                    text = "The supervisor's answer does not end."
                    raise ReplyError(text)
        except TimeoutError as error:
            text = f"The supervisor (pid {self.pid}) did not answer within {timeout_s:g} s."
            raise ControlError(text, ExitCode.NO_SUPERVISOR) from error
        except ReplyError as error:
            raise ControlError(str(error), ExitCode.BUG) from error
        except OSError:
            return  # it left in the middle: the caller sees that the last reply is missing

    def wait_gone(self, pidfd: int, timeout_s: float) -> bool:
        """Wait until the supervisor's process has ended. Returns whether it has."""
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def close(self) -> None:
        self.sock.close()


def connect(settings: ControlSettings) -> Connection:
    """Connect to the supervisor that the settings mean, or to the only live one.

    Raises: ControlError: none answers (5), or several do and none was named (2).
    """
    if settings.control:
        paths = [Path(settings.control)]
        what = f"at {settings.control}"
    else:
        paths = locate.sockets_in_default_places(settings.name)
        what = f"named {settings.name}" if settings.name else "in the default places"
    found = [connection for path in paths if (connection := _try(path)) is not None]
    if not found:
        text = f"No supervisor {what} answers. Is the service running? --control names its socket."
        raise ControlError(text, ExitCode.NO_SUPERVISOR)
    if len(found) > 1:
        listed = ", ".join(f"{item.path.stem} (pid {item.pid})" for item in found)
        for item in found:
            item.close()
        text = f"Several supervisors answer: {listed}. Choose one with --name or --control."
        raise ControlError(text, ExitCode.USAGE)
    return found[0]


def _try(path: Path) -> Connection | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(REPLY_TIMEOUT_S)
    try:
        sock.connect(os.fspath(path))
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    except PermissionError as error:
        sock.close()
        text = f"Not allowed to use {path}: it belongs to another user."
        raise ControlError(text, ExitCode.NO_SUPERVISOR) from error
    except OSError:
        sock.close()
        return None
    return Connection(sock, path, PEER_CREDENTIALS.unpack(raw)[0])
