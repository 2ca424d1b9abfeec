"""Rules on sizes, times and streams. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.linting.asking import titles
from tornado_multi.deploy.nginx.linting.headers import SOCKET_WORDS, is_sent, path_words
from tornado_multi.deploy.nginx.linting.kinds import Severity, found
from tornado_multi.deploy.nginx.linting.values import parse_size_bytes, parse_time_s, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.deploy.nginx.linting.asking import Asked
    from tornado_multi.deploy.nginx.linting.configuration import Proxied
    from tornado_multi.deploy.nginx.linting.kinds import Finding

SHORT_STREAM_S = 300
"""A stream may well be silent for minutes; what is below this is rather a forgotten default."""
STREAM_WORDS = frozenset({"sse", "stream", "eventsource", "eventstream"})
POLL_WORDS = frozenset({"longpoll", "longpolling", "comet"})
WEAK_WORDS = frozenset(
    {"events", "poll", "updates", "subscribe", "notifications", "chat", "socket"}
)
"""May be anything; a stream if the location has a buffering of its own."""


def body_size(asked: Asked) -> Iterator[Finding]:
    """Judge each limit once, however many locations it holds for."""
    allowed = max(1, asked.http.max_body_size_bytes)  # nginx takes 0 for no limit
    for server in asked.configuration.judged:
        by_default = []
        for one in server.proxied:
            written = one.scope.nearest("client_max_body_size")
            if not written:
                by_default.append(one)
                continue
            text = written[0].args[0] if written[0].args else ""
            size = parse_size_bytes(text)
            if size is not None and size != allowed:
                is_above = size == 0 or size > allowed
                yield found(
                    "body-size-above" if is_above else "body-size",
                    written[0],
                    f"client_max_body_size {text}{' (no limit)' if size == 0 else ''}, and the app "
                    f"takes {size_text(allowed)}",
                    mend=_size_mend(allowed),
                )
        # In a part of a configuration, the limit may stand in the rest.
        if by_default and allowed > 1024 * 1024 and asked.configuration.is_whole:
            yield found(
                "body-size",
                by_default[0].by,
                f"{titles(by_default)}: no client_max_body_size, which means 1m, and the app takes "
                f"{size_text(allowed)}",
                mend=_size_mend(allowed),
            )
        elif by_default and allowed > 1024 * 1024:
            yield found(
                "body-size",
                by_default[0].by,
                f"{titles(by_default)}: no client_max_body_size here; unless it is set elsewhere, it "
                f"is 1m, and the app takes {size_text(allowed)}",
                mend=_size_mend(allowed),
            )


def _size_mend(allowed: int) -> str:
    return f"client_max_body_size {size_text(allowed)}; or another http.max_body_size_bytes of the app."


def streams(asked: Asked) -> Iterator[Finding]:
    """Judge locations whose path says that answers there last."""
    for one in asked.proxied():
        words = path_words(one.title)
        is_weak = bool(words & WEAK_WORDS) and bool(one.scope.own("proxy_buffering"))
        is_events = bool(words & STREAM_WORDS) or is_weak
        if not (is_events or words & (POLL_WORDS | SOCKET_WORDS)):
            continue
        yield from _read_timeout(one)
        if is_events:
            yield from _buffered(one)
            yield from _gzipped(one)


def _read_timeout(one: Proxied) -> Iterator[Finding]:
    text = one.scope.value("proxy_read_timeout", "60s")
    limit_s = parse_time_s(text)
    if limit_s is None or limit_s >= SHORT_STREAM_S:
        return
    written = one.scope.nearest("proxy_read_timeout")
    by_default = "" if written else ", the default"
    yield found(
        "read-timeout",
        written[0] if written else one.by,
        f"{one.title}: proxy_read_timeout is {text}{by_default}",
    )


def _buffered(one: Proxied) -> Iterator[Finding]:
    written = one.scope.nearest("proxy_buffering")
    if written and written[0].args == ("on",):
        yield found("buffered-stream", written[0], f"{one.title}: proxy_buffering on")
    elif not written and not is_sent(one.scope, "upgrade"):
        # The app may send X-Accel-Buffering: no, which nothing here shows.
        yield found(
            "buffered-stream",
            one.by,
            f"{one.title}: proxy_buffering is on by default",
            severity=Severity.INFO,
        )


def _gzipped(one: Proxied) -> Iterator[Finding]:
    types = one.scope.nearest("gzip_types")
    packed = {kind for line in types for kind in line.args} & {"text/event-stream", "*"}
    if packed and one.scope.value("gzip", "off") == "on":
        yield found("gzip-stream", types[0], f"{one.title}: gzip_types holds {min(packed)}")
