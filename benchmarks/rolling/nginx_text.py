"""nginx's configuration for one row, and what its error log says. No I/O.

Must not know: processes, sockets, how an instance is made.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rolling.rows import Upstream

SERVER_WIDE = """\
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 512; }}
http {{
    log_format ids "$http_x_request_id";
    access_log {directory}/access.log ids;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 100000;
    include {directory}/upstream.conf;
    server {{
        listen 127.0.0.1:{port};
        # Whom nginx tried, and how long each took to connect; "-" is one that it did not reach.
        add_header X-Tries "$upstream_addr | $upstream_connect_time" always;
        location / {{
            proxy_pass http://app;
            proxy_next_upstream {next_upstream};
            {keeping}
        }}
    }}
}}
"""

KEEPING = 'proxy_http_version 1.1; proxy_set_header Connection "";'

HASH_SERVER = """\
server {{
    listen unix:{directory}/hash.sock;
    location = /hash {{ return 200 "{digest}"; }}
}}
"""

LOG_KINDS = {
    "no live upstreams": "no live upstreams",
    "Connection refused": "refused",
    "No such file or directory": "no socket file",
    "prematurely closed": "closed without an answer",
    "Connection reset by peer": "reset",
    "Broken pipe": "reset",
    "timed out": "timed out",
}
"""A part of a line of the error log, and what it is called in the table; the first that fits."""
_LOG_LINE = re.compile(r"^\S+ \S+ \[(\w+)\] (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class UpstreamFile:
    """The file that a rollout rewrites, and the hash by which nginx proves that it has read it."""

    text: str
    digest: str


def server_wide_text(settings: Upstream, directory: str, port: int, *, is_root: bool) -> str:
    """Return the file that stays as it is.

    Args:
        directory: of nginx's files; the other file is ``upstream.conf`` in it.
        is_root: nginx's workers stay root, whose directory it is.
    """
    return SERVER_WIDE.format(
        user="user root;" if is_root else "",
        directory=directory,
        port=port,
        next_upstream=settings.next_upstream,
        keeping=KEEPING if settings.keepalive else "",
    )


def upstream_file(
    settings: Upstream, addresses: Sequence[str], directory: str, down: frozenset[int] = frozenset()
) -> UpstreamFile:
    """Return the file that lists the instances.

    Args:
        addresses: as nginx takes them, one per fork_id.
        down: fork_ids that get no requests.
    """
    servers = [
        " ".join(["server", address, *settings.failures.split(), *["down"] * (fork_id in down)])
        for fork_id, address in enumerate(addresses)
    ]
    lines = ["upstream app {", "    zone app 128k;", *(f"    {server};" for server in servers)]
    if settings.keepalive:
        lines.append(f"    keepalive {settings.keepalive};")
    block = "\n".join([*lines, "}", ""])
    digest = hashlib.sha256(block.encode()).hexdigest()[:12]
    return UpstreamFile(block + HASH_SERVER.format(directory=directory, digest=digest), digest)


def log_kinds(log: str) -> Counter[str]:
    """Return how many lines of an error log are of which kind; notices are left out."""
    found: Counter[str] = Counter()
    for level, text in _LOG_LINE.findall(log):
        if level not in {"notice", "info", "debug"}:
            kinds = (kind for part, kind in LOG_KINDS.items() if part in text)
            found[next(kinds, "other")] += 1
    return found


def was_sent_twice(tries: str) -> bool:
    """Tell from the header X-Tries whether more than one instance may have got the request.

    A try without a time to connect never reached its instance.
    """
    _, _, connect_times = tries.partition(" | ")
    return sum(time not in {"", "-"} for time in connect_times.split(", ")) > 1


def last_tried(tries: str) -> str:
    """Return the address that was tried last, or an empty text if there was none."""
    address = tries.partition(" | ")[0].split(", ")[-1]
    return "" if address in {"-", "app"} else address
