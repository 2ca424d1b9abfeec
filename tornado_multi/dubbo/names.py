"""Names of services and methods: checked, because a name may hold a second command. Pure."""

from __future__ import annotations

import re

from tornado_multi.dubbo.errors import BadArgumentError

_IDENTIFIER = r"[A-Za-z_$][A-Za-z0-9_$]*"
_SERVICE = re.compile(
    rf"(?:(?P<group>[A-Za-z0-9_.-]+)/)?(?P<interface>{_IDENTIFIER}(?:\.{_IDENTIFIER})*)"
    r"(?::(?P<version>[A-Za-z0-9_.-]+))?"
)
NO_VERSION = "0.0.0"
_METHOD = re.compile(_IDENTIFIER)


def check_service(name: str) -> re.Match[str]:
    """Return the parts of a service's name: an interface, or ``group/interface:version``.

    Raises: BadArgumentError: it is none.
    """
    parts = _SERVICE.fullmatch(name)
    if parts is None:
        text = f"{name!r:.80} is no name of a service; one is like com.example.AccountService."
        raise BadArgumentError(text)
    return parts


def locate_service(name: str, version: str, group: str | None) -> tuple[str, str, str | None]:
    """Return interface, version and group, which stand in the name or beside it.

    Raises: BadArgumentError: the name is none, or says another group or version than stands beside.
    """
    parts = check_service(name)
    interface, named_version, named_group = parts["interface"], parts["version"], parts["group"]
    if named_version not in {None, version} and version != NO_VERSION:
        raise BadArgumentError(f"{name} is asked for in version {version}; which of them is meant?")
    if named_group not in {None, group} and group is not None:
        raise BadArgumentError(f"{name} is asked for in group {group}; which of them is meant?")
    return interface, named_version or version, named_group or group


def check_method(name: str) -> str:
    """Return a method's name.

    Raises: BadArgumentError: it is none.
    """
    if not _METHOD.fullmatch(name):
        text = f"{name!r:.80} is no name of a method; one is like getByAccountId."
        raise BadArgumentError(text)
    return name
