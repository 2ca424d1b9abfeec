"""Names of services and methods: checked, because a name may hold a second command. Pure."""

from __future__ import annotations

import re

from tornado_multi.dubbo.errors import BadArgumentError

_IDENTIFIER = r"[A-Za-z_$][A-Za-z0-9_$]*"
_SERVICE = re.compile(
    rf"(?:[A-Za-z0-9_.-]+/)?{_IDENTIFIER}(?:\.{_IDENTIFIER})*(?::[A-Za-z0-9_.-]+)?"
)
_METHOD = re.compile(_IDENTIFIER)


def check_service(name: str) -> str:
    """Return a service's name: an interface, or ``group/interface:version``.

    Raises: BadArgumentError: it is none.
    """
    if not _SERVICE.fullmatch(name):
        text = f"{name!r:.80} is no name of a service; one is like com.example.AccountService."
        raise BadArgumentError(text)
    return name


def check_method(name: str) -> str:
    """Return a method's name.

    Raises: BadArgumentError: it is none.
    """
    if not _METHOD.fullmatch(name):
        text = f"{name!r:.80} is no name of a method; one is like getByAccountId."
        raise BadArgumentError(text)
    return name
