"""Locked pid files: proof that one supervisor lives. Runs in: supervisor.

The lock (flock) is the fact; the pid inside is for people. A pid read from a file is never
signalled. A dead holder's lock is gone with it, so a stale file needs no clean-up: it is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AlreadyRunningError(Exception):
    """Somebody else holds the lock; the text names the pid and the file."""


class PidFile:
    """A file with our pid, locked until ``close``."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def acquire(cls, path: Path, hint: str = "") -> PidFile:
        """Create or take over *path*, lock it and write our pid into it.

        Args: hint: options by which ``stop`` finds the holder, for the error text.
        Raises: AlreadyRunningError: another process holds it. OSError: the system refused.
        """
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(path, flags, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(fd, path):
                    _refuse_foreign(fd, path)
                    os.ftruncate(fd, 0)
                    os.write(fd, f"{os.getpid()}\n".encode())
                    return cls(path, fd)
            except BlockingIOError:
                seen = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                os.close(fd)
                holder = f"pid {seen}" if seen else "another process"
                message = (
                    f"Already running: {holder} holds the lock on {path}. Stop it with "
                    f"tornado-multi stop{hint}, or choose another --name, --control or --pid-file."
                )
                raise AlreadyRunningError(message) from None
            except BaseException:
                os.close(fd)
                raise
            # Its last owner removed the path between our open and our lock: try again.
            os.close(fd)

    def forget(self) -> None:
        """Close a copy that was inherited by a fork; the file and the lock stay the parent's."""
        os.close(self._fd)

    def close(self) -> None:
        """Remove the file, if the path is still ours, and let the lock go."""
        with contextlib.suppress(OSError):
            if _same_file(self._fd, self.path):
                self.path.unlink()
        os.close(self._fd)


def _refuse_foreign(fd: int, path: Path) -> None:
    """Refuse to overwrite a file that holds something else than a pid."""
    content = os.pread(fd, 64, 0).strip()
    if content and not content.isdigit():
        raise OSError(errno.EEXIST, "a file that holds no pid stands there", str(path))


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False
