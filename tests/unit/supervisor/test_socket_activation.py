"""Sockets that a service manager passes: which are ours, and which address gets which."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.activation import PassedSockets, listening

from tornado_multi.supervisor.listeners import ListenError
from tornado_multi.supervisor.socket_activation import (
    PassedSocket,
    choose_binds,
    take_passed_sockets,
)

OWN = str(os.getpid())
DEFAULT = ("127.0.0.1:8888",)
HTTP, ADMIN, UNNAMED = PassedSocket(3, "http"), PassedSocket(4, "admin"), PassedSocket(5, "unknown")


# --- taking ---------------------------------------------------------------------------------------


TAKE = """
import fcntl, json, os, sys
from tornado_multi.supervisor.listeners import ListenError
from tornado_multi.supervisor.socket_activation import VARIABLES, take_passed_sockets
try:
    passed = take_passed_sockets(os.environ)
except ListenError as error:
    sys.exit(str(error))
closed = [bool(fcntl.fcntl(item.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC) for item in passed]
left = [name for name in VARIABLES if name in os.environ]
print(json.dumps([[[item.fd, item.name] for item in passed], closed, left]))
"""


def take(count: str, names: str | None) -> subprocess.CompletedProcess[str]:
    """Let a process take two passed sockets, of *count* that are promised."""
    with PassedSockets([listening(), listening()], names) as passed:
        return subprocess.run(
            [*passed.wrapper, sys.executable, "-c", TAKE],
            env=os.environ | passed.environment | {"LISTEN_FDS": count},
            pass_fds=passed.fds,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("http:admin", '[[3, "http"], [4, "admin"]]'),
        ("http:http", '[[3, "http"], [4, "http"]]'),
        ("http", '[[3, "http"], [4, "unknown"]]'),
        ("a:b:c", '[[3, "a"], [4, "b"]]'),
        ("", '[[3, "unknown"], [4, "unknown"]]'),
        (None, '[[3, "unknown"], [4, "unknown"]]'),
    ],
)
def test_what_is_passed_is_taken_for_this_process_alone(names: str | None, expected: str) -> None:
    """Descriptors 3 and up with their names; close-on-exec, and no variable is left for others."""
    done = take("2", names)

    assert f"[{expected}, [true, true], []]\n" == done.stdout, done.stderr


@pytest.mark.parametrize("count", ["3", "999999999999"])
def test_a_descriptor_that_is_not_open(count: str) -> None:
    """The sentence says what was promised and what is missing."""
    done = take(count, None)

    assert f"LISTEN_FDS={count}, but descriptor 5 is not open: Bad file descriptor." in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": f"0{OWN}"},
        {"LISTEN_FDS": "0", "LISTEN_PID": OWN},
        {"LISTEN_FDS": "-1", "LISTEN_PID": OWN},
        {"LISTEN_FDS": "one", "LISTEN_PID": OWN},
        {"LISTEN_FDS": "²", "LISTEN_PID": OWN},
        {"LISTEN_PID": OWN, "LISTEN_FDNAMES": "http"},
    ],
)
def test_what_is_meant_for_another_process_is_not_touched(environment: dict[str, str]) -> None:
    """Nothing is taken, and the variables are removed: they can't be meant for our children."""
    left = environment | {"HOME": "/"}

    assert () == take_passed_sockets(left)
    assert {"HOME": "/"} == left


# --- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("binds", "passed", "expected"),
    [
        (DEFAULT, (), DEFAULT),
        (DEFAULT, (HTTP,), ("fd://3",)),
        (DEFAULT, (HTTP, ADMIN, UNNAMED), ("fd://3", "fd://4", "fd://5")),
        (("fd://http",), (HTTP,), ("fd://3",)),
        (("fd://admin", "fd://http"), (HTTP, ADMIN), ("fd://4", "fd://3")),
        (("fd://unknown",), (UNNAMED,), ("fd://5",)),
        (("fd://3",), (HTTP,), ("fd://3",)),
        (
            ("fd://http",),
            (HTTP, PassedSocket(4, "http")),
            ("fd://3", "fd://4"),
        ),
        (("127.0.0.1:1", "fd://http"), (HTTP,), ("127.0.0.1:1", "fd://3")),
        (("127.0.0.1:1",), (), ("127.0.0.1:1",)),
    ],
)
def test_which_address_gets_which_socket(
    binds: tuple[str, ...], passed: tuple[PassedSocket, ...], expected: tuple[str, ...]
) -> None:
    """Without addresses all that is passed; a name stands for every socket that bears it."""
    assert (expected, []) == choose_binds(binds, DEFAULT, passed)


def test_a_socket_that_nobody_wants_is_noted() -> None:
    """Clients would wait in its queue for ever."""
    chosen, notes = choose_binds(("fd://http", "127.0.0.1:1"), DEFAULT, (HTTP, ADMIN))

    assert ("fd://3", "127.0.0.1:1") == chosen
    assert ["The passed socket 'admin' (fd 4) is not used: no --bind names it."] == notes


@pytest.mark.parametrize(
    ("passed", "said"), [((), "passed: none at all"), ((HTTP, ADMIN), "passed: admin, http")]
)
def test_a_name_that_was_not_passed_is_refused(passed: tuple[PassedSocket, ...], said: str) -> None:
    """The sentence lists the names that there are."""
    with pytest.raises(ListenError, match=f"Can't listen on fd://shop: .*{said}"):
        choose_binds(("fd://shop",), DEFAULT, passed)
