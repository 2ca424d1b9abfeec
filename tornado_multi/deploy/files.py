"""Writes files whole or not at all. Acting: the file system. Runs in: commands."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEW_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Written:
    """What has become of a file."""

    path: str
    """Where it really is: links are followed."""
    is_changed: bool
    backup: str | None = None
    """What was there before; None: nothing, or the same."""

    def undo(self) -> None:
        """Put back what was there before; that needs no space. Raises: OSError."""
        if not self.is_changed:
            return
        if self.backup is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        else:
            os.rename(self.backup, self.path)
        _sync_directory(self.path)


@contextlib.contextmanager
def alone(path: str, wait: Callable[[str], None]) -> Iterator[None]:
    """Keep other commands from writing files in the same directory: one could undo what is not its own.

    Args: wait: called with the directory, before this has to wait.
    """
    directory = os.path.dirname(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no directory (writing will say so), no locks there
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait(directory)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def write_whole(path: str, text: str) -> Written:
    """Write a file so that a reader sees the old one or the new one, also after a power cut.

    Mode and owner are kept, and what was there before is kept as ``.FILE.bak``. A file that holds
    the same already is left alone.
    Raises: OSError: nothing was changed, then; also for what is no regular file, such as /dev/stdout.
    """
    path = os.path.realpath(path)
    new = text.encode()
    before = _read(path)
    if before == new:
        return Written(path, is_changed=False)
    backup = None
    if before is not None:
        backup = backup_of(path)
        _replace(backup, before, like=path)
    _replace(path, new)
    _sync_directory(path)
    return Written(path, is_changed=True, backup=backup)


def backup_of(path: str) -> str:
    """Return where the file of before is kept: hidden, so that ``include sites-enabled/*`` skips it."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.bak")


def _read(path: str) -> bytes | None:
    """Return what a file holds; None: there is none."""
    try:
        mode = os.stat(path).st_mode  # to be asked first: a pipe would wait for ever
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
    except FileNotFoundError:
        return None
    with open(path, "rb") as file:
        return file.read()


def _replace(path: str, data: bytes, *, like: str | None = None) -> None:
    """Write a temporary file beside *path* and rename it.

    Args: like: the file whose mode and owner it gets; None: *path* itself.
    """
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            try:
                model = os.stat(like or path)
            except FileNotFoundError:
                os.fchmod(descriptor, NEW_FILE_MODE)
            else:
                os.fchmod(descriptor, stat.S_IMODE(model.st_mode))
                with contextlib.suppress(PermissionError):  # not root: it is ours already
                    os.fchown(descriptor, model.st_uid, model.st_gid)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _sync_directory(path: str) -> None:
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
