"""Entries of ``fork_safety_allow``: their form, and the kinds that they may name. Pure."""

from __future__ import annotations

FINDING_KINDS = (
    "child-process",
    "connected-socket",
    "connection-pool",
    "database-connection",
    "datagram-socket",
    "descriptor",
    "epoll",
    "event-loop",
    "eventfd",
    "executor",
    "file",
    "held-lock",
    "listening-socket",
    "log-file",
    "native-thread",
    "not-audited",
    "pipe",
    "random",
    "read-file",
    "rotating-log",
    "seeded-random",
    "shared-map",
    "socket-pair",
    "sqlite",
    "temporary-directory",
    "thread",
    "tls-socket",
    "truncated-log",
    "udp-socket",
    "wakeup-fd",
    "written-file",
)
"""What the audit tells apart: the keys of ``forksafety.findings.KINDS``."""
LEAST_WORDS = 2
WILDCARDS = "*?["


def split_allowance(text: str) -> tuple[str, str]:
    """Return the pattern and the reason of ``shop/settings.py:31 the poller only logs``.

    Raises: ValueError: the reason is missing, or the pattern can only be meant as a kind and no
        finding is of that kind.
    """
    words = text.split(maxsplit=1)
    if len(words) < LEAST_WORDS:
        message = (
            "must be what is allowed and the reason, such as "
            "'shop/settings.py:31 the poller only logs'"
        )
        raise ValueError(message)
    pattern, reason = words
    _refuse_unknown_kind(pattern)
    return pattern, reason


def check_allowance(text: str) -> None:
    """Raise what ``split_allowance`` raises."""
    split_allowance(text)


def _refuse_unknown_kind(pattern: str) -> None:
    """A name without a dot, a slash, a wildcard or a line is no file, so it must be a kind."""
    name, _, rest = pattern.partition(":")
    if name in FINDING_KINDS or not name or rest.isdigit():
        return
    if any(one in name for one in (".", "/", *WILDCARDS)):
        return
    import difflib  # zygotes and workers import this module, and never get here

    nearest = difflib.get_close_matches(name, FINDING_KINDS, n=1)
    hint = (
        f"Did you mean {nearest[0]}?" if nearest else f"The kinds are {', '.join(FINDING_KINDS)}."
    )
    raise ValueError(
        f"{name!r} is no kind of finding. {hint} A file whose name has no dot is written */{name}."
    )
