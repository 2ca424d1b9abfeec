"""Listeners that belong to one instance each: real ones, on addresses of their own."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from support.instances import free_ports

from tornado_multi.supervisor.listener_set import InstanceListeners
from tornado_multi.supervisor.listeners import ListenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make() -> Iterator[Callable[[Callable[[int], str]], InstanceListeners]]:
    """Return what makes listeners; they are closed at the end."""
    made: list[InstanceListeners] = []

    def listeners(bind_of: Callable[[int], str]) -> InstanceListeners:
        made.append(InstanceListeners(bind_of, 128, "http"))
        return made[-1]

    yield listeners
    for item in made:
        item.close()


def fork_ids(listeners: InstanceListeners) -> list[int | None]:
    return [address.fork_id for address in listeners.addresses()]


def connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_all_are_opened_or_none(make: Callable[..., InstanceListeners]) -> None:
    """What was open before stays open, and the sentence names the instance."""
    first = free_ports(4)
    listeners = make(lambda fork_id: f"127.0.0.1:{first + fork_id}")
    listeners.open_for(range(1))
    with (
        socket.create_server(("127.0.0.1", first + 3)),
        pytest.raises(
            ListenError, match=rf"Instance 3: Can't listen on 127\.0\.0\.1:{first + 3}: "
        ),
    ):
        listeners.open_for(range(4))

    assert [0] == fork_ids(listeners)
    assert [True, False] == [connects(first), connects(first + 1)]


def test_one_is_opened_when_it_is_needed(make: Callable[..., InstanceListeners]) -> None:
    """And stays the same as long as its instance is there."""
    first = free_ports(3)
    listeners = make(lambda fork_id: f"127.0.0.1:{first + fork_id}")

    assert listeners.own(2) is listeners.own(2)
    assert [2] == fork_ids(listeners)


def test_a_tcp_listener_that_refuses_can_be_had_again(
    make: Callable[..., InstanceListeners],
) -> None:
    """Who leaves shares it with who comes: nothing in its queue is lost."""
    first = free_ports(1)
    listeners = make(lambda _: f"127.0.0.1:{first}")
    listener = listeners.own(0)
    listeners.refuse(0)

    assert listener is listeners.own(0)
    assert connects(first)


def test_a_unix_listener_that_refuses_is_replaced(
    make: Callable[..., InstanceListeners], tmp_path: Path
) -> None:
    """Its refusal is for good; who leaves keeps the old one, with what is queued there."""
    path = os.fspath(tmp_path / "0.sock")
    listeners = make(lambda _: f"unix:{path}")
    old = listeners.own(0)
    leaving = old.sock.dup()
    with socket.socket(socket.AF_UNIX) as queued, socket.socket(socket.AF_UNIX) as fresh:
        queued.connect(path)
        listeners.refuse(0)
        new = listeners.own(0)
        fresh.connect(path)
        leaving.setblocking(True)
        leaving.accept()[0].close()
        new.sock.setblocking(True)
        new.sock.accept()[0].close()
    leaving.close()

    assert new is not old


def test_a_removed_socket_comes_back_with_the_next_worker(
    make: Callable[..., InstanceListeners], tmp_path: Path
) -> None:
    """Somebody has tidied up the directory: a restart mends it, once the directory is there."""
    directory = tmp_path / "run"
    directory.mkdir()
    path = directory / "0.sock"
    listeners = make(lambda _: f"unix:{path}")
    listeners.own(0)
    path.unlink()
    directory.rmdir()
    with pytest.raises(ListenError, match="The directory must exist"):
        listeners.own(0)
    directory.mkdir()
    listeners.own(0)

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_one_that_is_shut_is_gone(make: Callable[..., InstanceListeners], tmp_path: Path) -> None:
    """With its path; the others stay."""
    listeners = make(lambda fork_id: f"unix:{tmp_path}/{fork_id}.sock")
    listeners.open_for(range(2))
    listeners.shut(1)
    listeners.shut(1)

    assert [0] == fork_ids(listeners)
    assert ["0.sock"] == os.listdir(tmp_path)
