"""Where nginx finds the service: from the settings, or from what a running service says. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.settings.bind import FdBind, NamedFdBind, TcpBind, UnixBind, parse_bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tornado_multi.settings.bind import Bind
    from tornado_multi.settings.model import Settings

ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
GROUP_AND_OTHERS_WRITE = 0o022


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of the upstream."""

    address: str
    """As nginx takes it: ``127.0.0.1:8001``, ``[::1]:8001``, ``unix:/run/shop/0.sock``."""
    is_local: bool
    fork_id: int | None = None
    """Of its one worker, in instances mode."""


def peers_of(settings: Settings, count: int, servers: Sequence[str]) -> tuple[Peer, ...]:
    """Return the servers that the settings mean.

    Args: count: number of instances. servers: ``host:port`` of other machines.
    Raises: RefusedError: an address can't be known beforehand, or stands there twice.
    """
    instances = settings.instances
    if instances.is_asked:
        if count > instances.most_instances():
            message = (
                f"first_port={instances.first_port} and count={count}: the ports end at 65535, so "
                f"that there is room for {instances.most_instances()}."
            )
            raise RefusedError(message)
        local = [
            Peer(_address(instances.bind_of(fork_id)), is_local=True, fork_id=fork_id)
            for fork_id in range(count)
        ]
    else:
        local = [Peer(_address(text), is_local=True) for text in settings.listen.bind]
    return _with_remote(local, servers)


def peers_of_listeners(
    listeners: Sequence[tuple[str, int | None]], servers: Sequence[str]
) -> tuple[Peer, ...]:
    """Return the servers that a running service says it listens on.

    Args: listeners: address and fork_id of each, as status has them: ``http://127.0.0.1:8001``,
    ``unix:/run/shop/0.sock``; None: all workers serve it.
    Raises: RefusedError: as above.
    """
    local = [
        Peer(
            _address(text.removeprefix("http://").removeprefix("https://")),
            is_local=True,
            fork_id=fork_id,
        )
        for text, fork_id in listeners
    ]
    return _with_remote(local, servers)


def closed_sockets(settings: Settings) -> list[tuple[str, int]]:
    """Return path and mode of each unix socket that only its owner may connect to."""
    instances = settings.instances
    texts = [instances.bind_of(0)] if instances.is_asked else settings.listen.bind
    binds = [parse_bind(text) for text in texts]
    return [
        (bind.path, bind.mode)
        for bind in binds
        if isinstance(bind, UnixBind) and not bind.mode & GROUP_AND_OTHERS_WRITE
    ]


def named_servers(peers: Sequence[Peer]) -> list[str]:
    """Return the hosts of other machines that are names, not addresses."""
    found = []
    for peer in peers:
        host = peer.address.rpartition(":")[0]
        if not peer.is_local:
            try:
                ipaddress.ip_address(host.strip("[]"))
            except ValueError:
                found.append(host)
    return found


def claimed_twice(peers: Sequence[Peer], listens: Sequence[str]) -> str | None:
    """Return an address on which the service listens here, and nginx is to listen too.

    Args: listens: as nginx takes them: ``80`` (all of IPv4), ``[::]:80``, ``127.0.0.1:8080``.
    """
    for peer in peers:
        host, _, port = peer.address.rpartition(":")
        all_of_it = (f"[::]:{port}",) if host.startswith("[") else (port, f"0.0.0.0:{port}")
        if peer.is_local and not {peer.address, *all_of_it}.isdisjoint(listens):
            return peer.address
    return None


def _with_remote(local: list[Peer], servers: Sequence[str]) -> tuple[Peer, ...]:
    remote = [Peer(_address(text), is_local=False) for text in servers]
    taken: dict[str, str] = {}
    for peer in (*local, *remote):
        for form in _forms(peer.address):
            if form in taken:
                message = (
                    f"{peer.address} stands there twice: nginx would send it twice its share."
                    if peer.is_local or taken[form] == "server"
                    else f"server={peer.address} is an address of this service itself already; "
                    "--server names workers on other machines."
                )
                raise RefusedError(message)
        taken |= dict.fromkeys(_forms(peer.address), "local" if peer.is_local else "server")
    return (*local, *remote)


def _forms(address: str) -> Iterable[str]:
    """Return the address under all names that mean the same."""
    host, _, port = address.rpartition(":")
    if host.lower() in LOOPBACK_NAMES:
        return [f"{name}:{port}" for name in (host.lower(), "localhost")]
    return [address.lower() if not address.startswith("unix:") else address]


def _address(text: str) -> str:
    return _nginx_form(parse_bind(text), text)


def _nginx_form(bind: Bind, text: str) -> str:
    match bind:
        case TcpBind(host, port):
            if port == 0:
                message = (
                    f"bind={text}: port 0 takes any free port, which nobody knows beforehand. Choose a "
                    "port, or write --live while the service runs."
                )
                raise RefusedError(message)
            if "%" in host:
                message = f"bind={text}: nginx knows no zone such as %eth0; choose another address."
                raise RefusedError(message)
            if host in ANY:
                return f"{ANY[host]}:{port}"
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case UnixBind(path):
            if ":" in path:
                # An address of an upstream ends at a colon: ngx_parse_unix_domain_url takes the
                # rest for a URI.
                message = f"bind={text}: nginx can't use a path with a colon; choose another."
                raise RefusedError(message)
            return f"unix:{path}"
        case FdBind() | NamedFdBind():
            message = (
                f"bind={text}: where that descriptor listens is not known here. Write the address with "
                "--bind, or --live while the service runs."
            )
            raise RefusedError(message)
