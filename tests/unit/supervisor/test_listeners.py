"""Listening sockets: real ones, on addresses of their own."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from tornado_multi.supervisor import listeners
from tornado_multi.supervisor.listeners import (
    BoundListener,
    ListenError,
    effective_backlog,
    open_listeners,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKLOG = 16
Open = Callable[..., list[BoundListener]]


@pytest.fixture
def opened() -> Iterator[Callable[..., list[BoundListener]]]:
    """Open listeners that are closed after the test."""
    made: list[BoundListener] = []

    def open_them(*binds: str) -> list[BoundListener]:
        found = open_listeners(binds, BACKLOG)
        made.extend(found)
        return found

    yield open_them
    for listener in made:
        listener.close()


@pytest.fixture
def stranger() -> Iterator[Callable[[Path], socket.socket]]:
    """Somebody else's listening unix sockets."""
    made: list[socket.socket] = []

    def listen(path: Path) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.append(sock)
        sock.bind(os.fspath(path))
        sock.listen(1)
        return sock

    yield listen
    for sock in made:
        sock.close()


def connects(address: object, family: int = socket.AF_INET) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address) == 0  # type: ignore[arg-type]


def open_fds() -> list[str]:
    return os.listdir("/proc/self/fd")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- TCP ------------------------------------------------------------------------------------------


def test_a_tcp_listener_accepts_connections(opened: Open) -> None:
    """Port 0 takes a free port, and the address that is shown has the real one."""
    (listener,) = opened("127.0.0.1:0")
    host, port = listener.sock.getsockname()

    assert port > 0
    assert f"http://127.0.0.1:{port}" == listener.address
    assert connects((host, port))


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_listener_takes_no_ipv4(opened: Open) -> None:
    """One family per socket, so that both can be bound to one port side by side."""
    (six,) = opened("[::1]:0")
    port = six.sock.getsockname()[1]

    assert f"http://[::1]:{port}" == six.address
    assert connects(("::1", port), socket.AF_INET6)
    assert 1 == six.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    (four,) = opened(f"127.0.0.1:{port}")

    assert f"http://127.0.0.1:{port}" == four.address


def test_a_name_of_two_families_gives_one_listener(opened: Open) -> None:
    """``localhost`` is IPv4 where both are known: what proxies and the default address use."""
    (listener,) = opened("localhost:0")

    assert listener.address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix"])
def test_listeners_never_block(opened: Open, tmp_path: Path, bind: str) -> None:
    """A blocking one would freeze the loop of every worker that loses the race for a connection."""
    (listener,) = opened(f"unix:{tmp_path}/s" if bind == "unix" else bind)

    assert fcntl.fcntl(listener.sock, fcntl.F_GETFL) & os.O_NONBLOCK
    with pytest.raises(BlockingIOError):
        listener.sock.accept()


def test_listeners_are_not_inherited_by_chance(opened: Open) -> None:
    """Only the zygote gets them, by name."""
    (listener,) = opened("127.0.0.1:0")

    assert not listener.sock.get_inheritable()


def test_a_port_can_be_bound_again_at_once(opened: Open) -> None:
    """Connections of the last service that are in TIME_WAIT don't stand in the way of a restart."""
    (listener,) = opened("127.0.0.1:0")
    address = listener.sock.getsockname()
    with socket.create_connection(address):
        served, _ = listener.sock.accept()
        served.close()  # the server closes first: TIME_WAIT is ours
    listener.close()
    (again,) = opened(f"127.0.0.1:{address[1]}")

    assert address == again.sock.getsockname()


def test_a_taken_port_is_refused_with_what_to_do(opened: Open) -> None:
    """The sentence has the address as typed, what was seen, and the mend."""
    (listener,) = opened("127.0.0.1:0")
    bind = listener.address.removeprefix("http://")
    me = f"{psutil.Process().name()} (pid {os.getpid()})"

    with pytest.raises(ListenError) as caught:
        opened(bind)
    assert str(caught.value) == (
        f"Can't listen on {bind}: Address already in use. {me} listens there; stop it "
        "or choose another address."
    )


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("192.0.2.1:0", "This machine has no such address."),
        ("a..b:80", "Can't listen on a..b:80: "),
        (f"{'a' * 64}:80", "Can't listen on aaaa"),
    ],
)
def test_an_impossible_host_is_refused(opened: Open, bind: str, said: str) -> None:
    """Whatever is wrong with a host is one sentence, never a traceback."""
    with pytest.raises(ListenError) as caught:
        opened(bind)
    assert said in str(caught.value)


# --- unix -----------------------------------------------------------------------------------------


def test_a_unix_listener_is_ours_alone_by_default(opened: Open, tmp_path: Path) -> None:
    """Without ?mode= only our own user connects."""
    path = tmp_path / "s"
    (listener,) = opened(f"unix:{path}")

    assert f"unix:{path}" == listener.address
    assert 0o600 == mode_of(path)
    assert connects(os.fspath(path), socket.AF_UNIX)


def test_a_unix_listener_gets_its_mode_and_group(opened: Open, tmp_path: Path) -> None:
    """The mode is exact whatever the umask, and the umask is left as it was."""
    path = tmp_path / "s"
    own = grp.getgrgid(os.getgid()).gr_name
    before = os.umask(0o077)
    try:
        opened(f"unix:{path}?mode=666&group={own}")

        assert 0o077 == os.umask(0o077)
    finally:
        os.umask(before)

    assert 0o666 == mode_of(path)
    assert os.getgid() == path.stat().st_gid


def test_nobody_connects_before_the_mode_is_right(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between bind and chmod the file is ours alone, whatever the umask and the mode to come."""
    path = tmp_path / "s"
    chmod, seen = os.chmod, []

    def note(where: str, mode: int) -> None:
        seen.append(mode_of(path))
        chmod(where, mode)

    monkeypatch.setattr(listeners.os, "chmod", note)
    before = os.umask(0)
    try:
        opened(f"unix:{path}?mode=666")
    finally:
        os.umask(before)

    assert [0o600] == seen


def test_a_group_that_does_not_exist_is_refused(opened: Open, tmp_path: Path) -> None:
    """The group is looked up before anything is bound."""
    with pytest.raises(ListenError, match="there is no group 'nosuchgroup'"):
        opened(f"unix:{tmp_path}/s?group=nosuchgroup")
    assert [] == list(tmp_path.iterdir())


def test_a_stale_socket_file_is_taken_over(opened: Open, tmp_path: Path) -> None:
    """A service that was killed leaves its socket file; nobody listens there any more."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(os.fspath(path))

    assert not connects(os.fspath(path), socket.AF_UNIX)

    opened(f"unix:{path}")

    assert connects(os.fspath(path), socket.AF_UNIX)


def test_a_live_socket_is_refused(
    opened: Open, stranger: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """A path on which somebody listens is theirs, and stays as it is."""
    path = tmp_path / "s"
    sock = stranger(path)

    with pytest.raises(ListenError, match=r"\(pid \d+\) listens there|more than once"):
        opened(f"unix:{path}")

    sock.accept()[0].close()  # what looked whether somebody listens
    assert connects(os.fspath(path), socket.AF_UNIX)


def test_a_live_socket_with_a_full_queue_is_refused(
    opened: Open, stranger: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """A service that is too busy to accept is alive all the same."""
    path = tmp_path / "s"
    stranger(path).listen(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(os.fspath(path))  # the one place of the queue

        with pytest.raises(ListenError, match=r"\(pid \d+\) listens there|more than once"):
            opened(f"unix:{path}")
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_socket_is_never_removed(opened: Open, tmp_path: Path, kind: str) -> None:
    """A mistyped path must not cost anybody a file."""
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()

    with pytest.raises(ListenError, match="a file that is no socket stands there"):
        opened(f"unix:{path}")
    assert path.exists()


def test_a_link_to_a_socket_is_not_followed(
    opened: Open, stranger: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """A symbolic link is no socket, wherever it leads."""
    stranger(tmp_path / "theirs")
    (tmp_path / "s").symlink_to(tmp_path / "theirs")

    with pytest.raises(ListenError, match="no socket"):
        opened(f"unix:{tmp_path}/s")


def test_a_missing_directory_is_refused(opened: Open, tmp_path: Path) -> None:
    """We make no directories for sockets: their owner and mode are for the user to choose."""
    with pytest.raises(ListenError, match="The directory must exist"):
        opened(f"unix:{tmp_path}/missing/s")


def test_a_path_whose_mode_can_not_be_set_is_not_left_behind(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal after the bind removes the file again."""

    def refuse(path: str, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr(listeners.os, "chmod", refuse)

    with pytest.raises(ListenError, match="Operation not permitted"):
        opened(f"unix:{tmp_path}/s")
    assert [] == list(tmp_path.iterdir())


def test_the_file_goes_with_the_listener(opened: Open, tmp_path: Path) -> None:
    """A service that has stopped leaves no socket file."""
    (listener,) = opened(f"unix:{tmp_path}/s")
    listener.close()

    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_not_ours_any_more_stays(
    opened: Open, stranger: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """Somebody else's socket in the same place is not ours to remove."""
    path = tmp_path / "s"
    (listener,) = opened(f"unix:{path}")
    path.rename(tmp_path / "elsewhere")
    stranger(path)
    listener.close()

    assert connects(os.fspath(path), socket.AF_UNIX)


def test_a_second_close_removes_nothing(
    opened: Open, stranger: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """After the first close the path is free for the next service, whose file may get our inode."""
    path = tmp_path / "s"
    (listener,) = opened(f"unix:{path}")
    listener.close()
    stranger(path)
    found = path.lstat()
    listener.inode = (found.st_dev, found.st_ino)  # what many file systems do by themselves
    listener.close()

    assert connects(os.fspath(path), socket.AF_UNIX)


# --- inherited ------------------------------------------------------------------------------------


@pytest.fixture
def inherited() -> Iterator[Callable[[socket.socket], int]]:
    """Give a socket away as a bare descriptor, as a service manager does."""
    given: list[int] = []

    def give(sock: socket.socket) -> int:
        fd = sock.detach()
        given.append(fd)
        return fd

    yield give
    for fd in given:
        try:
            os.close(fd)
        except OSError:
            continue  # taken over, as it should be


def test_an_inherited_socket_is_taken_over(
    opened: Open, inherited: Callable[[socket.socket], int]
) -> None:
    """fd://N listens with our backlog, never blocks, and stands under one descriptor only."""
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    fd = inherited(sock)
    (listener,) = opened(f"fd://{fd}")

    assert f"http://127.0.0.1:{address[1]}" == listener.address
    assert connects(address)
    assert not listener.sock.getblocking()
    assert not listener.sock.get_inheritable()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_an_inherited_unix_socket_keeps_its_file(
    opened: Open, inherited: Callable[[socket.socket], int], tmp_path: Path
) -> None:
    """The file belongs to the service manager that bound it."""
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(os.fspath(path))
    (listener,) = opened(f"fd://{inherited(sock)}")

    assert f"unix:{path}" == listener.address

    listener.close()

    assert path.exists()


def test_an_abstract_socket_is_shown_with_an_at_sign(
    opened: Open, inherited: Callable[[socket.socket], int]
) -> None:
    """An abstract name has no file; people write it with @."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind("")  # the kernel chooses a free abstract name
    name = sock.getsockname()
    (listener,) = opened(f"fd://{inherited(sock)}")

    assert f"unix:@{os.fsdecode(name[1:])}" == listener.address


def test_the_standard_streams_are_no_listeners(opened: Open) -> None:
    """fd://0 to fd://2 are a mistake, and taking them over would close them."""
    for fd in (0, 1, 2):
        with pytest.raises(ListenError, match="the standard streams"):
            opened(f"fd://{fd}")
        os.fstat(fd)


def test_a_descriptor_that_is_not_open_is_refused(opened: Open) -> None:
    """The sentence says what the process that starts us must do."""
    with pytest.raises(ListenError, match="must pass a listening socket"):
        opened("fd://999")


def test_a_descriptor_that_is_no_socket_is_refused(opened: Open) -> None:
    """A file is no socket; nothing stays open but the file itself."""
    read_fd, write_fd = os.pipe()
    before = open_fds()

    with pytest.raises(ListenError, match="must pass a listening socket"):
        opened(f"fd://{read_fd}")
    assert before == open_fds()

    os.close(read_fd)
    os.close(write_fd)


def test_a_datagram_socket_is_refused(
    opened: Open, inherited: Callable[[socket.socket], int]
) -> None:
    """HTTP needs a stream."""
    fd = inherited(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    with pytest.raises(ListenError, match="no stream socket"):
        opened(f"fd://{fd}")


def test_a_connected_socket_is_refused(
    opened: Open, inherited: Callable[[socket.socket], int]
) -> None:
    """A connection can't listen."""
    ours, theirs = socket.socketpair()
    fd = inherited(ours)

    with pytest.raises(ListenError, match="Invalid argument"):
        opened(f"fd://{fd}")

    theirs.close()


# --- all or nothing -------------------------------------------------------------------------------


def test_all_or_nothing(opened: Open, tmp_path: Path) -> None:
    """If one address can't be had, those before it are let go again, files included."""
    before = open_fds()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ListenError):
            opened("127.0.0.1:0", f"unix:{tmp_path}/s", f"127.0.0.1:{port}")

    assert [] == list(tmp_path.iterdir())
    assert before == open_fds()


def test_one_unix_path_twice_is_refused(opened: Open, tmp_path: Path) -> None:
    """The second --bind of a path finds the first one listening."""
    with pytest.raises(ListenError, match=r"\(pid \d+\) listens there|more than once"):
        opened(f"unix:{tmp_path}/s", f"unix:{tmp_path}/s")
    assert [] == list(tmp_path.iterdir())


def test_listeners_keep_the_order_of_the_binds(opened: Open, tmp_path: Path) -> None:
    """The first address is the one that is shown first."""
    found = opened(f"unix:{tmp_path}/b", "127.0.0.1:0", f"unix:{tmp_path}/a")

    assert [f"unix:{tmp_path}/b", f"unix:{tmp_path}/a"] == [found[0].address, found[2].address]


def test_what_other_processes_are_told(opened: Open) -> None:
    """The zygote gets the number of the descriptor, which it inherits, and the address."""
    (listener,) = opened("127.0.0.1:0")
    shared = listener.shared()

    assert (listener.sock.fileno(), listener.address) == (shared.fd, shared.address)


def test_the_backlog_is_what_the_kernel_uses() -> None:
    """net.core.somaxconn caps it; status shows the smaller of the two."""
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        most = int(file.read())

    assert 1 == effective_backlog(1)
    assert most == effective_backlog(most + 1)
