"""Writes files whole or not at all. Acting: the file system. Runs in: commands."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass

BACKUP_SUFFIX = ".bak"
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
        """Put back what was there before."""
        if not self.is_changed:
            return
        if self.backup is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        else:
            with open(self.backup, encoding="utf-8", errors="surrogateescape") as file:
                _replace(self.path, file.read())
        _sync_directory(self.path)


def write_whole(path: str, text: str) -> Written:
    """Write a file so that a reader sees the old one or the new one, also after a power cut.

    Mode and owner are kept, and what was there before is kept as ``FILE.bak``. A file that holds
    the same already is left alone.
    Raises: OSError: nothing was changed, then.
    """
    path = os.path.realpath(path)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            before: str | None = file.read()
    except FileNotFoundError:
        before = None
    if before == text:
        return Written(path, is_changed=False)
    backup = None
    if before is not None:
        backup = path + BACKUP_SUFFIX
        _replace(backup, before, like=path)
    _replace(path, text)
    _sync_directory(path)
    return Written(path, is_changed=True, backup=backup)


def _replace(path: str, text: str, *, like: str | None = None) -> None:
    """Write a temporary file beside *path* and rename it.

    Args: like: the file whose mode and owner it gets; None: *path* itself.
    """
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
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
