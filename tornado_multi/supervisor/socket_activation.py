"""Listening sockets that systemd passes. Source: sd_listen_fds(3).

Runs in: supervisor, at its start. ``choose_binds`` is pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado_multi.settings.bind import NamedFdBind, parse_bind
from tornado_multi.supervisor.listeners import ListenError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_FD = 3  # SD_LISTEN_FDS_START
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """One descriptor and its name (FileDescriptorName=; by default the socket unit's)."""

    fd: int
    name: str


def take_passed_sockets(environment: MutableMapping[str, str]) -> tuple[PassedSocket, ...]:
    """Take what is meant for this process out of *environment*; nobody after us may.

    The descriptors become close-on-exec: they are passed on by number where they are wanted.
    Raises: ListenError: one of them is not open.
    """
    pid, count, names = (environment.pop(name, "") for name in VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return ()
    given = names.split(":") if names else []
    passed: list[PassedSocket] = []
    for fd in range(FIRST_FD, FIRST_FD + int(count)):
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            message = (
                f"LISTEN_FDS={count}, but descriptor {fd} is not open: {error.strerror}. Whoever "
                f"starts us must pass the sockets as descriptors {FIRST_FD} and up."
            )
            raise ListenError(message) from error
        index = fd - FIRST_FD
        passed.append(PassedSocket(fd, given[index] if index < len(given) else "unknown"))
    return tuple(passed)


def choose_binds(
    binds: tuple[str, ...], default: tuple[str, ...], passed: tuple[PassedSocket, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the addresses to listen on, with names turned into numbers, and one note per socket
    that nobody wants.

    Without addresses of the user's own (*binds* is *default*) all passed sockets are taken.
    Raises: ListenError: a name was not passed.
    """
    if binds == default and passed:
        return tuple(f"fd://{item.fd}" for item in passed), []
    chosen: list[str] = []
    for text in binds:
        bind = parse_bind(text)
        if not isinstance(bind, NamedFdBind):
            chosen.append(text)
            continue
        found = [f"fd://{item.fd}" for item in passed if item.name == bind.name]
        if not found:
            names = ", ".join(sorted({item.name for item in passed})) or "none at all"
            message = f"Can't listen on {text}: no socket of this name was passed; passed: {names}."
            raise ListenError(message)
        chosen += found
    unused = [item for item in passed if f"fd://{item.fd}" not in chosen]
    notes = [
        f"The passed socket {item.name!r} (fd {item.fd}) is not used: no --bind names it."
        for item in unused
    ]
    return tuple(chosen), notes
