"""What this process has open: one look at ``/proc/self/fd``.

Runs in: zygote; its errands.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import stat
from dataclasses import dataclass

STREAMS = 3  # 0..2 belong to whoever started us
TCP_SYN_SENT = 2  # linux/include/net/tcp_states.h; the first byte of TCP_INFO


@dataclass
class Descriptor:
    """One open descriptor."""

    fd: int
    target: str
    """What /proc says: a path, ``socket:[123]``, ``anon_inode:[eventpoll]``."""
    identity: tuple[int, int]
    """(st_dev, st_ino). Anonymous inodes share one."""
    flags: int
    """As of open(2): access mode, O_APPEND."""
    mode: int
    """st_mode."""

    @property
    def anonymous(self) -> str | None:
        """Return ``eventpoll``, ``eventfd``, ``io_uring``, ... of an anonymous inode."""
        found = re.fullmatch(r"anon_inode:\[?([^\]]+)\]?", self.target)
        return found[1] if found else None

    @property
    def is_socket(self) -> bool:
        return stat.S_ISSOCK(self.mode)

    @property
    def is_writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY


@dataclass(frozen=True)
class SocketFacts:
    """What a socket is."""

    family: int
    type: int
    is_listening: bool
    own: str
    peer: str | None
    """None: not connected. Empty: the other end has no name (a socket pair)."""
    is_connecting: bool = False
    """Connect was called, and the peer has not answered yet."""

    @property
    def is_unix(self) -> bool:
        return self.family == socket.AF_UNIX

    @property
    def is_stream(self) -> bool:
        return self.type in {socket.SOCK_STREAM, socket.SOCK_SEQPACKET}

    @property
    def is_pair(self) -> bool:
        return self.is_unix and self.peer == "" and not self.own

    @property
    def has_session(self) -> bool:
        """Tell whether what it reads depends on what it has sent: nobody may share that."""
        is_session = self.peer is not None or self.is_connecting
        return self.is_stream and is_session and not self.is_pair

    @property
    def may_get_session(self) -> bool:
        """Tell whether it may be connected later, under the same number."""
        return self.is_stream and self.peer is None and not self.is_listening

    def text(self) -> str:
        """Return ``127.0.0.1:41822 -> 10.0.0.5:20880`` or what there is of it."""
        return " -> ".join(part for part in (self.own, self.peer) if part)


def survey() -> dict[int, Descriptor]:
    """Return the descriptors by number; of the standard streams only what is a socket."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            item = _look_at(fd)
            if fd >= STREAMS or item.is_socket:  # an app that closes a stream gets its number
                found[fd] = item
    return found


def _look_at(fd: int) -> Descriptor:
    seen = os.fstat(fd)
    return Descriptor(
        fd=fd,
        target=os.readlink(f"/proc/self/fd/{fd}"),
        identity=(seen.st_dev, seen.st_ino),
        flags=fcntl.fcntl(fd, fcntl.F_GETFL),
        mode=seen.st_mode,
    )


def socket_facts(fd: int) -> SocketFacts | None:
    """Return what a socket is; None: it can't be looked at. The descriptor stays as it is."""
    try:
        blocks = os.get_blocking(fd)
        sock = socket.socket(fileno=fd)
        if os.get_blocking(fd) != blocks:  # by socket.setdefaulttimeout, which the app has called
            os.set_blocking(fd, blocks)
    except OSError:
        return None
    try:
        try:
            peer: str | None = _text(sock.getpeername())
        except OSError:
            peer = None
        return SocketFacts(
            family=sock.family,
            type=sock.type,
            is_listening=bool(_option(sock, socket.SO_ACCEPTCONN)),
            own=_own_name(sock),
            peer=peer,
            is_connecting=peer is None and _is_connecting(sock),
        )
    finally:
        sock.detach()


def _option(sock: socket.socket, option: int) -> int:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, option)
    except OSError:  # families other than internet and unix
        return 0


def _is_connecting(sock: socket.socket) -> bool:
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type != socket.SOCK_STREAM:
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_SYN_SENT
    except OSError:
        return False


def _own_name(sock: socket.socket) -> str:
    try:
        return _text(sock.getsockname())
    except OSError:
        return ""


def _text(address: object) -> str:
    if isinstance(address, bytes):  # an abstract unix address
        return "@" + address.removeprefix(b"\0").decode("utf-8", "replace")
    if isinstance(address, tuple) and len(address) >= 2:
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        return f"{host}:{address[1]}"
    return str(address) if address else ""


def watched_by(fd: int) -> list[int]:
    """Return the numbers that an epoll descriptor watches."""
    try:
        # Not ascii, whose codec would be read from a file: with --user that may be refused by now.
        with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    return [int(number) for number in re.findall(r"^tfd:\s*(\d+)", text, re.MULTILINE)]


def shared_maps() -> list[tuple[int, str]]:
    """Return the writable shared memory maps: (length in bytes, path)."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(maxsplit=5)
            if fields[1].startswith("rw") and fields[1].endswith("s"):
                low, _, high = fields[0].partition("-")
                path = fields[5].strip() if len(fields) > 5 else ""
                found.append((int(high, 16) - int(low, 16), path))
    return found


def children() -> list[int]:
    """Return the pids of this process's children."""
    found: list[int] = []
    for name in os.listdir("/proc/self/task"):
        with (
            contextlib.suppress(OSError),
            open(f"/proc/self/task/{name}/children", encoding="utf-8") as file,
        ):
            found += [int(pid) for pid in file.read().split()]
    return found


def command_of(pid: int) -> str:
    """Return a process's name, or nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
