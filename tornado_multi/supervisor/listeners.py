"""Listening sockets: bound once by the supervisor, kept until the last worker has left.

One socket per ``--bind``, never SO_REUSEPORT (a crash or hang of one worker must not strand a
queue), always non-blocking (the flag belongs to the open file description, so every process that
inherits the socket shares it; a blocking one would freeze Tornado's loop in accept).
Runs in: supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
from dataclasses import dataclass

from tornado_multi.process.linux import allow_new_connections, refuse_new_connections
from tornado_multi.process.messages import Listener
from tornado_multi.settings.bind import (
    Bind,
    FdBind,
    NamedFdBind,
    TcpBind,
    UnixBind,
    parse_bind,
)
from tornado_multi.supervisor.port_holders import holder_of

FIRST_INHERITED_FD = 3  # 0..2 are the standard streams


class ListenError(Exception):
    """An address can't be listened on; the text says which, what was seen and what to do."""


@dataclass(slots=True)
class BoundListener:
    """A listening socket and what to remove from the file system at the end."""

    sock: socket.socket
    address: str
    is_inherited: bool = False
    """Somebody else holds it too and listens on after us: its queue waits for the next service."""
    key: str = ""
    """Script mode: the ``bind_sockets`` call that it came from."""
    unlink_path: str | None = None
    is_refusing: bool = False
    inode: tuple[int, int] | None = None
    """(device, inode) of the path as bound: a path that somebody replaced is left alone."""

    def shared(self) -> Listener:
        """Return the listener as the other processes know it."""
        return Listener(self.sock.fileno(), self.address, self.is_inherited, self.key)

    def refuse(self) -> None:
        """Let no further connection begin, but keep those that are queued for the workers."""
        if not self.is_inherited:
            self.is_refusing = True
            with contextlib.suppress(OSError):  # a kernel without socket filters: they are reset
                refuse_new_connections(self.sock)

    def allow(self) -> bool:
        """Let connections begin again after ``refuse``. Returns whether that can be done."""
        if self.sock.family == socket.AF_UNIX:
            return False  # its shutdown is for good
        with contextlib.suppress(OSError):  # there was no filter
            allow_new_connections(self.sock)
        self.is_refusing = False
        return True

    def has_lost_its_path(self) -> bool:
        """Tell whether somebody has removed a unix socket's file: nobody can connect any more."""
        return self.unlink_path is not None and not os.path.lexists(self.unlink_path)

    def shut(self) -> None:
        """End listening in all processes that share the socket."""
        if not self.is_inherited:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close our copy; remove the path of a unix socket if it is still ours."""
        self.sock.close()
        if self.unlink_path is None:
            return
        # Once only: when the path is free, the next service's file may get the same inode number.
        path, self.unlink_path = self.unlink_path, None
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == self.inode:
                os.unlink(path)


def open_listeners(
    binds: tuple[str, ...], backlog: int | None, scheme: str = "http"
) -> list[BoundListener]:
    """Bind and listen on every address, or on none.

    Args: backlog: None: only bind; connections are refused until somebody listens.
        scheme: http or https, for the addresses as people are shown them.
    Raises: ListenError: one of them failed; the others are closed again.
    """
    fixed = [text for text in binds if getattr(parse_bind(text), "port", None) != 0]
    twice = next((text for text in fixed if fixed.count(text) > 1), None)
    if twice is not None:
        message = f"Can't listen on {twice} twice: the address was given more than once."
        raise ListenError(message)
    opened: list[BoundListener] = []
    try:
        for text in binds:
            opened.append(_open(text, parse_bind(text), backlog, scheme))  # noqa: PERF401 - closed one by one if a later one fails
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _open(text: str, bind: Bind, backlog: int | None, scheme: str) -> BoundListener:
    try:
        match bind:
            case TcpBind():
                return _open_tcp(bind, backlog, scheme)
            case UnixBind():
                return _open_unix(bind, backlog)
            case FdBind():
                return _open_inherited(bind, backlog, scheme)
            case NamedFdBind():
                message = f"Can't listen on {text}: no socket of this name was passed."
                raise ListenError(message)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "Another process listens there; stop it or choose another address.",
            errno.EACCES: "Ports below 1024 and other people's directories need more rights.",
            errno.EADDRNOTAVAIL: "This machine has no such address.",
            errno.ENOENT: "The directory must exist.",
        }
        hint = hints.get(error.errno or 0, "")
        if error.errno == errno.EADDRINUSE and (holder := holder_of(bind)) is not None:
            hint = f"{holder} listens there; stop it or choose another address."
        seen = error.strerror or str(error)
        message = f"Can't listen on {text}: {seen}. {hint}".rstrip()
        raise ListenError(message) from error


def _open_tcp(bind: TcpBind, backlog: int | None, scheme: str) -> BoundListener:
    try:
        found = socket.getaddrinfo(
            bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:  # an empty label, or one of more than 63 bytes
        raise OSError(errno.EINVAL, "No host can have this name") from error
    # A name such as localhost may stand for several addresses; one listener per --bind, and IPv4
    # first, because that is what the default address and most proxies use.
    family, kind, protocol, _, address = min(found, key=lambda item: item[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One family per socket, so that 0.0.0.0 and [::] can be bound side by side.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        if backlog is not None:
            sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return BoundListener(sock, describe(sock, scheme))


def _open_unix(bind: UnixBind, backlog: int | None) -> BoundListener:
    group_id = -1
    if bind.group is not None:
        try:
            group_id = grp.getgrnam(bind.group).gr_gid
        except KeyError:
            message = f"Can't listen on unix:{bind.path}: there is no group {bind.group!r}."
            raise ListenError(message) from None
    _remove_stale(bind.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        old_umask = os.umask(0o177)  # nobody connects before owner, group and mode are right
        try:
            sock.bind(bind.path)
        finally:
            os.umask(old_umask)
    except BaseException:
        sock.close()
        raise
    found = os.lstat(bind.path)
    listener = BoundListener(
        sock, f"unix:{bind.path}", unlink_path=bind.path, inode=(found.st_dev, found.st_ino)
    )
    try:
        if group_id != -1:
            os.chown(bind.path, -1, group_id)
        os.chmod(bind.path, bind.mode)
        if backlog is not None:
            sock.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on; refuse anything else that stands there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        message = f"Can't listen on unix:{path}: a file that is no socket stands there."
        raise ListenError(message)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue is full: somebody listens
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _open_inherited(bind: FdBind, backlog: int | None, scheme: str) -> BoundListener:
    if bind.fd < FIRST_INHERITED_FD:
        message = f"Can't listen on fd://{bind.fd}: 0, 1 and 2 are the standard streams."
        raise ListenError(message)
    try:
        fd = os.dup(bind.fd)
        try:
            sock = socket.socket(fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(bind.fd)
    except OSError as error:
        message = (
            f"Can't listen on fd://{bind.fd}: {error.strerror}. The process that starts us must "
            "pass a listening socket as that descriptor, without close-on-exec."
        )
        raise ListenError(message) from error
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        message = f"Can't listen on fd://{bind.fd}: it is no stream socket."
        raise ListenError(message)
    try:
        sock.setblocking(False)
        if backlog is not None:
            sock.listen(backlog)  # also on one that listens already: sets the backlog
    except BaseException:
        sock.close()
        raise
    return BoundListener(sock, describe(sock, scheme), is_inherited=True)


def describe(sock: socket.socket, scheme: str = "http") -> str:
    """Say a listening socket's address as people type it into a client."""
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        return f"{scheme}://{name[0]}:{name[1]}"
    if sock.family == socket.AF_INET6:
        return f"{scheme}://[{name[0]}]:{name[1]}"
    path = os.fsdecode(name)
    return f"unix:@{path[1:]}" if path.startswith("\0") else f"unix:{path}"


def effective_backlog(backlog: int) -> int:
    """Return the backlog that the kernel really uses: net.core.somaxconn caps it."""
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return min(backlog, int(file.read()))
    except (OSError, ValueError):
        return backlog
