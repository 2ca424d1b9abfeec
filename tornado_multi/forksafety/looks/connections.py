"""Connections of libraries, SQLite handles, TLS sockets. Runs in: zygote; ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety.libraries import Held, held_by_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.forksafety.ledger import Ledger, Objects


def look_at_libraries(ledger: Ledger, objects: Objects) -> None:
    """Say what objects of known libraries hold open."""
    for held in held_by_libraries(objects):
        if held.fds and not set(held.fds) - ledger.claimed:
            continue
        ledger.claim(held.fds)
        site = ledger.recorder.site_of(held.thing)
        site = next((found for fd in held.fds if (found := ledger.site_of_fd(fd))), site)
        ledger.add(
            held.kind,
            held.what,
            site,
            library=held.library,
            severity=held.severity,
            harm=held.harm,
            mend=held.advice,
            fate=held.fate,
        )
        if site is not None and site.allowed is not None:
            continue
        ledger.heritage.held.append(held)
        ledger.said_by[id(held)] = len(ledger.findings) - 1
        if held.kind != "sqlite":
            for fd in held.fds:
                ledger.cut_off(fd, held.what, site, held.farewell)


def look_at_sqlite(ledger: Ledger, objects: Objects) -> None:
    """Say which SQLite files are open; handles of an engine are its affair."""
    for connection in objects.get("sqlite", []):
        path = _sqlite_path(connection)
        site = ledger.recorder.site_of(connection)
        if path:
            of_engine = any(
                item.kind == "sqlite" and connection in _connections_of(item)
                for item in ledger.heritage.held
            )
            if not of_engine:
                ledger.add("sqlite", f"SQLite handle {path}", site, library="sqlite3")
    for fd, item in ledger.open.items():
        plain = item.target.removesuffix(" (deleted)")
        for suffix in ("-wal", "-shm", "-journal"):
            plain = plain.removesuffix(suffix)
        if plain in ledger.recorder.sqlite_paths:
            ledger.claim({fd})


def look_at_tls(ledger: Ledger, objects: Objects) -> None:
    """Say which TLS connections are open."""
    for sock in objects.get("tls", []):
        fd = sock.fileno()
        facts = fds.socket_facts(fd) if fd in ledger.open else None
        if facts is None or fd in ledger.claimed or facts.peer is None:
            continue
        site = ledger.site_of_fd(fd)
        what = f"TLS connection {facts.text()}"
        ledger.claim({fd})
        ledger.add("tls-socket", what, site)
        ledger.cut_off(fd, what, site)


def _sqlite_path(connection: Any) -> str:
    """Return the file of a SQLite handle; nothing: it is in memory, or closed."""
    try:
        rows = connection.execute("PRAGMA database_list").fetchall()
    except Exception as error:  # noqa: BLE001 - of another thread, closed, busy
        return "" if "closed" in str(error) else "(file not known)"
    return next((str(row[2]) for row in rows if row[1] == "main"), "")


def _connections_of(held: Held) -> Iterator[Any]:
    pool = getattr(held.thing, "pool", None)
    queue = getattr(getattr(pool, "_pool", None), "queue", ())
    for record in queue:
        yield record.dbapi_connection
