"""Where control sockets are: the path a supervisor takes and the places a command looks.

Order: $RUNTIME_DIRECTORY (systemd), $XDG_RUNTIME_DIR/tornado_multi, /run/tornado_multi when
writable, a 0700 directory of this user's under the temporary directory.
Runs in: commands and supervisor, before it begins. Reads environment and file system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

from tornado_multi.settings.bind import MAX_UNIX_PATH_BYTES

DIRECTORY_NAME = "tornado_multi"
PRIVATE_MODE = 0o700


class LocateError(Exception):
    """No usable place for the control socket; a full sentence."""


def candidate_directories() -> list[Path]:
    """Return every default directory, first choice first; they need not exist."""
    found = []
    # systemd separates several RuntimeDirectory= by colons.
    if runtime := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        found.append(Path(runtime))
    if xdg := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(xdg) / DIRECTORY_NAME)
    found.append(Path("/run") / DIRECTORY_NAME)
    with contextlib.suppress(FileNotFoundError):  # in a read-only container there may be none
        found.append(Path(tempfile.gettempdir()) / f"{DIRECTORY_NAME}-{os.getuid()}")
    return found


def socket_path(control: str | None, name: str) -> Path:
    """Return the path for this supervisor's control socket, making a default directory.

    Raises: LocateError: no directory is usable, or the path is too long for a socket.
    """
    path = Path(control).absolute() if control else _first_usable() / f"{name}.sock"
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        message = (
            f"The control socket's path is longer than {MAX_UNIX_PATH_BYTES} bytes, the kernel's "
            f"limit: {path}. Choose a shorter one with --control."
        )
        raise LocateError(message)
    return path


def _first_usable() -> Path:
    seen = []
    for directory in candidate_directories():
        problem = _make_private(directory)
        if problem is None:
            return directory
        seen.append(f"{directory}: {problem}")
    message = (
        f"No directory for the control socket ({'; '.join(seen)}). Give a path with --control."
    )
    raise LocateError(message)


def _make_private(directory: Path) -> str | None:
    """Make the directory, or check that it is ours; return what is wrong with it."""
    try:
        directory.mkdir(mode=PRIVATE_MODE, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return "it is no directory"
    if found.st_uid != os.getuid():
        return f"it belongs to uid {found.st_uid}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "other users may write there"
    return None


def sockets_in_default_places(name: str | None = None) -> list[Path]:
    """Return the socket files a command may mean: all, or those of the service *name*."""
    found: list[Path] = []
    for directory in candidate_directories():
        try:
            if directory.stat().st_uid not in {os.getuid(), 0}:
                continue  # somebody else's directory under /tmp
            if name is not None:
                found += [directory / f"{name}.sock"]
            else:
                found += sorted(directory.glob("*.sock"))
        except OSError:
            continue
    return list(dict.fromkeys(found))


def open_control_socket(path: Path) -> socket.socket:
    """Bind the control socket, for our user only. The caller holds the lock beside the path.

    Raises: OSError: the system refused.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket stands there", str(path))
        path.unlink()  # ours or stale: the lock says that no other supervisor lives
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old_umask = os.umask(0o177)
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(old_umask)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
