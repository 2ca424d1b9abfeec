"""Where nginx finds the service."""

from __future__ import annotations

import pytest

from tornado_multi.deploy.nginx.addresses import (
    Peer,
    closed_sockets,
    peers_of,
    peers_of_listeners,
)
from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.settings.model import InstanceSettings, ListenSettings, Settings


def serve(*bind: str) -> Settings:
    return Settings(app="shop:make_app", listen=ListenSettings(bind=bind))


def instances(**given: object) -> Settings:
    return Settings(app="shop:make_app", instances=InstanceSettings(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:8888", "127.0.0.1:8888"),
        ("0.0.0.0:8888", "127.0.0.1:8888"),
        (":8888", "127.0.0.1:8888"),
        ("[::]:8888", "[::1]:8888"),
        ("[2001:db8::5]:8888", "[2001:db8::5]:8888"),
        ("localhost:8888", "localhost:8888"),
        ("unix:/run/shop.sock?mode=660", "unix:/run/shop.sock"),
    ],
)
def test_an_address_becomes_one_to_connect_to(bind: str, address: str) -> None:
    """Where everything is listened on, the loopback is the way there."""
    assert (Peer(address, is_local=True),) == peers_of(serve(bind), 1, ())


def test_each_instance_has_its_own_server() -> None:
    """In the order of the fork_ids, those of other machines behind them."""
    ports = peers_of(instances(first_port=8001), 2, ["10.0.0.5:8001"])
    sockets = peers_of(instances(unix_dir="/run/shop/?mode=660"), 2, ())

    assert ports == (
        Peer("127.0.0.1:8001", is_local=True, fork_id=0),
        Peer("127.0.0.1:8002", is_local=True, fork_id=1),
        Peer("10.0.0.5:8001", is_local=False),
    )
    assert ["unix:/run/shop/0.sock", "unix:/run/shop/1.sock"] == [item.address for item in sockets]


@pytest.mark.parametrize(
    ("settings", "servers", "says"),
    [
        (serve("127.0.0.1:0"), (), "port 0 takes any free port"),
        (serve("fd://3"), (), "where that descriptor listens is not known"),
        (serve("fd://http"), (), "where that descriptor listens is not known"),
        (serve("unix:/run/a:b"), (), "can't use a path with a colon"),
        (serve("[fe80::1%eth0]:1"), (), "no zone such as %eth0"),
        (serve("127.0.0.1:1", "127.0.0.1:1"), (), r"127\.0\.0\.1:1 stands there twice"),
        (serve("0.0.0.0:1", "127.0.0.1:1"), (), "twice"),
        (serve("127.0.0.1:1"), ("10.0.0.5:1", "10.0.0.5:1"), r"10\.0\.0\.5:1 stands there twice"),
        (serve("127.0.0.1:1"), ("127.0.0.1:1",), "of this service itself already"),
        (serve("127.0.0.1:1"), ("localhost:1",), "of this service itself already"),
        (instances(first_port=8001), ("127.0.0.1:8003",), "of this service itself already"),
        (instances(first_port=65534), (), "room for 2"),
    ],
)
def test_what_can_not_be_known_or_overlaps_is_refused(
    settings: Settings, servers: tuple[str, ...], says: str
) -> None:
    """One sentence, before anything is written."""
    with pytest.raises(RefusedError, match=says):
        peers_of(settings, 3, servers)


def test_a_running_service_says_where_it_listens() -> None:
    """As status has it, with the number of the worker if only one serves there."""
    said = [("http://127.0.0.1:8001", 0), ("https://[::]:8443", 1), ("unix:/run/a//b.sock", None)]
    peers = peers_of_listeners(said, ["10.0.0.5:1"])

    assert [
        ("127.0.0.1:8001", 0),
        ("[::1]:8443", 1),
        ("unix:/run/a//b.sock", None),
        ("10.0.0.5:1", None),
    ] == [(peer.address, peer.fork_id) for peer in peers]


def test_a_socket_that_nginx_may_not_use_is_found() -> None:
    """Mode 600 is the default; 660 lets a group in."""
    assert [("/run/shop.sock", 0o600)] == closed_sockets(serve("unix:/run/shop.sock"))
    assert [("/run/shop/0.sock", 0o600)] == closed_sockets(instances(unix_dir="/run/shop"))
    assert [] == closed_sockets(instances(unix_dir="/run/shop?mode=660"))
    assert [] == closed_sockets(serve("127.0.0.1:1"))
