"""A configuration changed so that nginx can test it without touching the machine. Pure.

``nginx -t`` binds every address, removes unix sockets, makes directories and opens logs. So
whatever it would touch is put into a directory of its own; what is tested is kept: every directive,
its place, its arguments, the files that are included, and certificates that can be read.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.tree import Directive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
FIRST_QUIC_PORT = 43_000
ROOM = (Directive("server_names_hash_bucket_size", ("512",)),)
"""What the other http block is to have for long names: a note says so."""
UNRESOLVED_NETWORK = "192.0.2."
"""For documentation: RFC 5737."""


@dataclasses.dataclass
class Rehearsal:
    """Changes one configuration.

    Args:
        directory: an empty one, for all that nginx would make elsewhere.
        can_read: tells whether a file can be read.
    """

    directory: str
    can_read: Callable[[str], bool]
    listeners: dict[str, str] = dataclasses.field(default_factory=dict)
    """Address -> the one in its place."""
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    """Host names of the upstream -> the address in its place: they may be known elsewhere only."""
    unread: list[str] = dataclasses.field(default_factory=list)
    """Certificates that can't be read."""

    def of_file(self, directives: Sequence[Directive]) -> tuple[Directive, ...]:
        """Return a whole file, changed."""
        return tuple(self._change(item) for item in directives)

    def of_part(self, directives: Sequence[Directive]) -> tuple[Directive, ...]:
        """Return a whole file with what belongs into an http block, changed."""
        around = (
            Directive("pid", ("-",)),
            Directive("error_log", ("-",)),
            Directive("events", (), ()),
            Directive("http", (), (*ROOM, Directive("access_log", ("off",)), *directives)),
        )
        return self.of_file(around)

    def _change(self, item: Directive, parent: str = "") -> Directive:
        args = item.args
        match item.name:
            case "pid":
                args = (f"{self.directory}/nginx.pid",)
            case "error_log":
                args = (f"{self.directory}/error.log", *args[1:])
            case "access_log" if args[0] != "off":
                args = (f"{self.directory}/access.log", *args[1:])
            case "listen":
                args = (self._listener(args), *args[1:])
            case "server" if parent == "upstream":
                args = (self._resolved(args[0]), *args[1:])
            case "ssl_certificate" | "ssl_certificate_key":
                return self._certificate(item)
        block = item.block
        if block is not None:
            block = tuple(self._change(inner, item.name) for inner in block)
            block = _once(block, "ssl_reject_handshake")
        if item.name == "http" and block is not None:
            block = (*self._temporary_paths(), *block)
        return dataclasses.replace(item, args=args, block=block)

    def _listener(self, args: tuple[str, ...]) -> str:
        is_quic = "quic" in args
        key = f"{args[0]} {'udp' if is_quic else 'tcp'}"
        number = len(self.listeners)
        other = (
            f"127.0.0.1:{FIRST_QUIC_PORT + number}"
            if is_quic
            else f"unix:{self.directory}/{number}"
        )
        return self.listeners.setdefault(key, other)

    def _resolved(self, address: str) -> str:
        host, _, port = address.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            if address.startswith("unix:"):
                return address
            other = f"{UNRESOLVED_NETWORK}{1 + len(self.names) % 254}"
            return f"{self.names.setdefault(host, other)}:{port}"
        return address

    def _certificate(self, item: Directive) -> Directive:
        """Keep a certificate that can be read; in place of another, a server that needs none."""
        if self.can_read(item.args[0]):
            return item
        if item.args[0] not in self.unread:
            self.unread.append(item.args[0])
        return Directive("ssl_reject_handshake", ("on",))

    def _temporary_paths(self) -> list[Directive]:
        return [
            Directive(f"{name}_temp_path", (f"{self.directory}/{name}",))
            for name in TEMPORARY_PATHS
        ]


def _once(block: tuple[Directive, ...], name: str) -> tuple[Directive, ...]:
    """Leave out all but the first of a directive, and with it certificates that are of no use then."""
    first = next((at for at, item in enumerate(block) if item.name == name), None)
    if first is None:
        return block
    return tuple(item for at, item in enumerate(block) if item.name != name or at == first)
