"""What is known of libraries: where their objects keep connections, and what mends them in a child.

A class is known by its name, so that no library is imported that the app has not imported. Each
function below gets all objects found of the names it asks for, and returns what they hold.
Tested against the real thing: redis, psycopg, psycopg2, SQLAlchemy, requests/urllib3, httpx, and
our own DubboClient.
What libraries hold in threads is known in ``library_threads``.
Runs in: zygote; what is in ``mend`` in the worker, where it may neither log nor import.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.fates import (
    BEGINS_ANEW,
    BY_LIBRARY,
    HANDLE_BEGINS_ANEW,
    POOL_BEGINS_ANEW,
    Fate,
)
from tornado_multi.forksafety.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Objects = dict[str, list[Any]]
"""class name as in CLASSES -> the objects of it or of a subclass"""

CLASSES = {
    # ours by this short name: where the library defines it
    "redis.PubSub": "redis.client.PubSub",
    "redis.Connection": "redis.connection.AbstractConnection",
    "redis.ConnectionPool": "redis.connection.ConnectionPool",
    "psycopg.Connection": "psycopg.Connection",
    "psycopg2.connection": "psycopg2.extensions.connection",
    "sqlalchemy.Engine": "sqlalchemy.engine.base.Engine",
    "sqlalchemy.record": "sqlalchemy.pool.base._ConnectionRecord",
    "urllib3.pool": "urllib3.connectionpool.HTTPConnectionPool",
    "http.client": "http.client.HTTPConnection",
    "httpcore.pool": "httpcore.ConnectionPool",
    "grpc": "grpc._channel.Channel",
    "tornado.curl": "tornado.curl_httpclient.CurlAsyncHTTPClient",
    "dubbo.binary": "tornado_multi.dubbo.binary.BinaryConnection",
    "dubbo.text": "tornado_multi.dubbo.text.TextConnection",
}


@dataclass(frozen=True)
class Held:
    """What one object of a library holds open."""

    kind: str
    what: str
    library: str
    thing: Any
    fds: tuple[int, ...] = ()
    severity: Severity | None = None
    harm: str | None = None
    advice: str | None = None
    mend: Callable[[], None] | None = None
    """Makes the object usable in a child, after its descriptors were made dead ends."""
    fate: Fate | None = None
    """What becomes of it in a worker; None: as of all of its kind."""
    farewell: Callable[[str], bytes] | None = None
    """What the server would send to end the session, with a text that the library shows."""


def held_by_libraries(objects: Objects) -> Iterator[Held]:
    """Return what known objects hold; the first to name a descriptor is its owner."""
    for look in (_sqlalchemy, _redis, _postgres, _http, _dubbo):
        yield from look(objects)


# --- SQLAlchemy -----------------------------------------------------------------------------------


def _sqlalchemy(objects: Objects) -> Iterator[Held]:
    for engine in objects.get("sqlalchemy.Engine", []):
        live = [
            record.dbapi_connection
            for record in objects.get("sqlalchemy.record", [])
            if getattr(record, "_ConnectionRecord__pool", None) is engine.pool
            and record.dbapi_connection is not None
        ]
        if not live:
            continue
        is_sqlite = engine.dialect.name == "sqlite"
        if is_sqlite and engine.url.database in {None, "", ":memory:"}:
            continue  # memory, which a fork copies
        count = f"{len(live)} open connection{'' if len(live) == 1 else 's'}"
        yield Held(
            "sqlite" if is_sqlite else "connection-pool",
            f"SQLAlchemy engine {_masked(engine.url)} with {count}",
            "sqlalchemy",
            engine,
            fds=tuple(fd for item in live if (fd := _fileno(item)) is not None),
            advice="connect on first use in the worker; at import create the engine only, or "
            "end with engine.dispose().",
            fate=HANDLE_BEGINS_ANEW if is_sqlite else BEGINS_ANEW,
            mend=lambda engine=engine: _forget_pool(engine),  # type: ignore[misc]  # bound now
            farewell=_postgres_farewell if engine.dialect.name == "postgresql" else None,
        )


_forgotten: list[Any] = []
"""What must not be collected in this process, because its end would end a session of another."""


def _forget_pool(engine: Any) -> None:
    _forgotten.append(engine.pool)
    engine.dispose(close=False)


def _masked(url: Any) -> str:
    return str(url.render_as_string(hide_password=True))


# --- Redis ----------------------------------------------------------------------------------------


def _redis(objects: Objects) -> Iterator[Held]:
    for pubsub in objects.get("redis.PubSub", []):
        if _redis_fds([pubsub.connection]):
            yield _redis_held("Redis subscription", pubsub, pubsub.connection)
    pooled: set[int] = set()
    for pool in objects.get("redis.ConnectionPool", []):
        idle = list(getattr(pool, "_available_connections", ()))
        fds = _redis_fds(idle)
        pooled.update(map(id, idle))
        if fds:
            count = f"{len(fds)} open connection{'' if len(fds) == 1 else 's'}"
            yield Held(
                "connection-pool",
                f"Redis pool with {count}",
                "redis",
                pool,
                fds=fds,
                severity=Severity.HANDLED,
                harm="The library sees that the process is another one and connects anew.",
                fate=BY_LIBRARY,
            )
    for connection in objects.get("redis.Connection", []):
        if id(connection) not in pooled and _redis_fds([connection]):
            yield _redis_held("Redis connection", connection, connection)


def _redis_held(what: str, thing: Any, connection: Any) -> Held:
    return Held(
        "connected-socket",
        f"{what} {_redis_address(connection)}",
        "redis",
        thing,
        fds=_redis_fds([connection]),
        # It connects again at the next command, and a subscription subscribes again.
        mend=connection.disconnect,
        fate=BEGINS_ANEW,
    )


def _redis_fds(connections: list[Any]) -> tuple[int, ...]:
    sockets = (getattr(connection, "_sock", None) for connection in connections)
    return tuple(fd for sock in sockets if sock is not None and (fd := _fileno(sock)) is not None)


def _redis_address(connection: Any) -> str:
    path = getattr(connection, "path", None)
    return path or f"{getattr(connection, 'host', '')}:{getattr(connection, 'port', '')}"


# --- PostgreSQL -----------------------------------------------------------------------------------


def _postgres(objects: Objects) -> Iterator[Held]:
    for library, name in (("psycopg", "psycopg.Connection"), ("psycopg2", "psycopg2.connection")):
        for connection in objects.get(name, []):
            fd = None if connection.closed else _fileno(connection)
            if fd is not None:
                yield Held(
                    "database-connection",
                    f"PostgreSQL connection {_postgres_address(connection)}",
                    library,
                    connection,
                    fds=(fd,),
                    farewell=_postgres_farewell,
                )


def _postgres_address(connection: Any) -> str:
    with contextlib.suppress(Exception):  # whatever a library of another version may raise
        info = connection.info
        return f"{info.host}:{info.port}/{info.dbname}"
    return ""


def _postgres_farewell(text: str) -> bytes:
    """Return what makes the next query fail with *text*: an ErrorResponse, then ReadyForQuery.

    An error that ends the session would be the truth, but libpq's PQexec then tells of the end of
    the connection only, and drops the text.
    Source: PostgreSQL documentation, "Message Formats"; 57P01 is admin_shutdown.
    """
    fields = (b"SERROR", b"VERROR", b"C57P01", b"M" + text.encode("utf-8", "replace"))
    body = b"".join(field + b"\0" for field in fields) + b"\0"
    ready = b"Z" + struct.pack("!i", 5) + b"I"
    return b"E" + struct.pack("!i", 4 + len(body)) + body + ready


# --- HTTP -----------------------------------------------------------------------------------------


def _http(objects: Objects) -> Iterator[Held]:
    for pool in objects.get("urllib3.pool", []):
        queue = getattr(getattr(pool, "pool", None), "queue", ())
        yield from _http_pool(pool, "urllib3", [item.sock for item in queue if item is not None])
    for pool in objects.get("httpcore.pool", []):
        yield from _http_pool(pool, "httpcore", list(_httpcore_sockets(pool)))
    for connection in objects.get("http.client", []):
        fd = None if connection.sock is None else _fileno(connection.sock)
        if fd is not None:
            what = f"HTTP connection to {connection.host}:{connection.port}"
            yield Held("connected-socket", what, "http.client", connection, fds=(fd,))


def _http_pool(pool: Any, library: str, sockets: list[Any]) -> Iterator[Held]:
    fds = tuple(fd for sock in sockets if sock is not None and (fd := _fileno(sock)) is not None)
    if fds:
        where = f" to {pool.host}:{pool.port}" if hasattr(pool, "host") else ""
        count = f"{len(fds)} open connection{'' if len(fds) == 1 else 's'}"
        what = f"HTTP pool{where} with {count}"
        yield Held("connection-pool", what, library, pool, fds=fds, fate=POOL_BEGINS_ANEW)


def _httpcore_sockets(pool: Any) -> Iterator[Any]:
    for connection in getattr(pool, "connections", ()):
        inner = getattr(connection, "_connection", None)
        stream = getattr(inner, "_network_stream", None)
        if stream is not None:
            yield stream.get_extra_info("socket")


def _fileno(thing: Any) -> int | None:
    """Return an object's descriptor; None: it has none (closed, another kind)."""
    try:
        fd = thing.fileno()
    except Exception:  # noqa: BLE001 - whatever the library of a closed object raises
        return None
    return fd if isinstance(fd, int) and fd >= 0 else None


# --- Dubbo ----------------------------------------------------------------------------------------


def _dubbo(objects: Objects) -> Iterator[Held]:
    for connection in (*objects.get("dubbo.binary", []), *objects.get("dubbo.text", [])):
        fd = connection.fileno()
        if fd >= 0:
            yield Held(
                "connected-socket",
                f"Dubbo connection {connection.address}",
                "tornado_multi",
                connection,
                fds=(fd,),
                severity=Severity.HANDLED,
                harm="DubboClient sees that the process is another one and connects anew.",
                advice="nothing.",
                fate=BY_LIBRARY,
            )
