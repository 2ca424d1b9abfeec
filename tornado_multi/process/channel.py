"""One end of a SOCK_SEQPACKET pair that carries messages and file descriptors.

asyncio has no transport for SEQPACKET, so an owner with a loop registers ``fileno()`` with
``add_reader`` and calls ``receive`` until it returns None.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from dataclasses import dataclass

from tornado_multi.process.messages import (
    MAX_MESSAGE_BYTES,
    Message,
    RemoteProtocolError,
    decode,
    encode,
)

MAX_FDS = 8


class ChannelClosed(Exception):  # noqa: N818 - it says a fact, like EOFError without its suffix
    """The peer has gone: its end of the pair is closed."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message and the file descriptors (close-on-exec) that came with it."""

    message: Message
    fds: tuple[int, ...]


class Channel:
    """One end of a pair. Owns its socket. Not for use by two threads."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)  # whatever the app has given to socket.setdefaulttimeout
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Create both ends, blocking, close-on-exec. Runs in: supervisor."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over *fd*."""
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd))

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_blocking(self, blocking: bool) -> None:  # noqa: FBT001 - as socket.setblocking
        self._socket.setblocking(blocking)

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send one message.

        Raises: ChannelClosed: the peer has gone. BlockingIOError: the end is non-blocking and
            the peer has let hundreds of messages lie.
        """
        data = encode(message)
        try:
            if fds:
                socket.send_fds(self._socket, [data], list(fds))
            else:
                self._socket.send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed from error

    def receive(self) -> Received | None:
        """Return the next message, or None when a non-blocking end has none.

        Raises: ChannelClosed: end of file. RemoteProtocolError: the peer broke the protocol.
        """
        try:
            # Not socket.recv_fds: it can't ask for close-on-exec without a race against a fork.
            data, ancillary, flags, _ = self._socket.recvmsg(
                MAX_MESSAGE_BYTES + 1, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except ConnectionResetError as error:
            raise ChannelClosed from error
        fds = array.array("i")
        for level, kind, body in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
        if not data:
            raise ChannelClosed
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                text = "a message larger than the protocol allows"
                raise RemoteProtocolError(text)
            return Received(decode(data), tuple(fds))
        except RemoteProtocolError:
            for fd in fds:
                os.close(fd)
            raise

    def is_closed_by_peer(self) -> bool:
        """Tell whether the other end is gone, leaving waiting messages where they are."""
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return self._socket.recv(1, flags) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def finish_sending(self) -> None:
        """Give the peer end of file, while we can still read what it says."""
        with contextlib.suppress(OSError):  # the peer has gone already
            self._socket.shutdown(socket.SHUT_WR)

    def detach(self) -> int:
        """Give the fd away: the caller closes it."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()
