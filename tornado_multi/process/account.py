"""The user and group that the app runs as. Source: credentials(7), prctl(2)."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from tornado_multi.process.linux import make_dumpable


class AccountError(ValueError):
    """There is no such user or group, or we may not become it; a full sentence."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the app runs as."""

    user_id: int
    group_id: int
    group_ids: tuple[int, ...]
    """Supplementary groups, *group_id* included."""
    user_name: str | None
    """None: the number has no entry in the user database."""
    home: str | None


def find_account(user: str | None, group: str | None) -> Account | None:
    """Look up what ``--user`` and ``--group`` name. None: the app keeps our own identity.

    Raises: AccountError: there is no such user or group, or only root could change to it.
    Runs in: supervisor (to refuse early), zygote.
    """
    if user is None and group is None:
        return None
    entry = _find_user(user)
    user_id = entry.pw_uid if isinstance(entry, pwd.struct_passwd) else entry
    name, home = (entry.pw_name, entry.pw_dir) if not isinstance(entry, int) else (None, None)
    if group is not None:
        group_id = _find_group(group)
    elif not isinstance(entry, int):
        group_id = entry.pw_gid
    else:
        text = f"user={user}: the number has no entry in the user database; give --group too."
        raise AccountError(text)
    groups = (group_id,) if name is None else tuple(os.getgrouplist(name, group_id))
    if os.geteuid() != 0:
        if (user_id, group_id) != (os.geteuid(), os.getegid()):
            wanted = f"user={user}" if user is not None else f"group={group}"
            text = f"{wanted}: only root can change to it, and this is user {os.geteuid()}."
            raise AccountError(text)
        return None
    return Account(user_id, group_id, groups, name, home)


def become(account: Account) -> None:
    """Change this process to *account*, for good, and let it read its own figures.

    The kernel clears the parent-death signal on a change of identity: ask for it again afterwards.
    Raises: OSError: the system refused. Runs in: zygote, before the app is imported.
    """
    os.setgroups(account.group_ids)
    os.setresgid(account.group_id, account.group_id, account.group_id)
    os.setresuid(account.user_id, account.user_id, account.user_id)
    # Without this /proc/self belongs to root: the app could not open its own environ, and tools of
    # its user could not look at it. Source: proc(5), PR_SET_DUMPABLE.
    make_dumpable()
    if account.user_name is not None:
        os.environ["USER"] = os.environ["LOGNAME"] = account.user_name
    if account.home is not None:
        os.environ["HOME"] = account.home


def _find_user(user: str | None) -> pwd.struct_passwd | int:
    if user is None:
        user = str(os.geteuid())
    try:
        return pwd.getpwnam(user)
    except KeyError:
        pass
    if not (user.isascii() and user.isdigit()):
        text = f"user={user}: there is no such user."
        raise AccountError(text)
    try:
        return pwd.getpwuid(int(user))
    except (KeyError, OverflowError):
        return _number(int(user), f"user={user}")


def _find_group(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        pass
    if not (group.isascii() and group.isdigit()):
        text = f"group={group}: there is no such group."
        raise AccountError(text)
    return _number(int(group), f"group={group}")


def _number(value: int, what: str) -> int:
    if value >= 2**32 - 1:  # the highest means "leave as it is" to the kernel
        text = f"{what}: the number is too high."
        raise AccountError(text)
    return value
