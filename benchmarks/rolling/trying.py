"""One run of one row: instances, nginx and clients started, rolled, ended, and what was seen.

Runs in: the bench.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rolling.clients import CLIENTS, Load
from benchmarks.rolling.fleets import OurFleet, PlainFleet, free_ports
from benchmarks.rolling.front import Front
from benchmarks.rolling.nginx_text import log_kinds
from benchmarks.rolling.outcome import Run, total, with_unread
from benchmarks.rolling.procedures import roll
from benchmarks.rolling.rows import INSTANCES, MORE_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.rolling.rows import Row

LOAD_S = 8.0
BEFORE_REQUESTS = 400
"""One second of load before the roll, so that all connections are there."""
AFTER_REQUESTS = 80


def try_out(row: Row, *, load_s: float = LOAD_S, before: int = BEFORE_REQUESTS) -> Run:
    """Do one row once; what keeps it from its end is part of what it showed.

    Args:
        load_s: seconds of load at least; it goes on until the roll has ended.
        before: requests before the roll.
    """
    with tempfile.TemporaryDirectory(prefix="rolling-") as directory:
        try:
            with _standing(row, Path(directory)) as (fleet, front):
                return _under_load(row, fleet, front, load_s, before)
        except AssertionError as error:
            return Run(problem=_first_line(error))


@contextlib.contextmanager
def _standing(row: Row, directory: Path) -> Iterator[tuple[PlainFleet | OurFleet, Front]]:
    """Yield the instances and nginx when both are ready. At the end nothing is left of either."""
    with contextlib.ExitStack() as opened:
        fleet = _fleet(row, directory / "fleet")
        opened.callback(fleet.close)
        fleet.wait_ready()
        front = Front(row.upstream, fleet.addresses, directory / "nginx", free_ports(1))
        opened.callback(front.close)
        front.wait_ready()
        yield fleet, front


def _fleet(row: Row, directory: Path) -> PlainFleet | OurFleet:
    if row.is_ours:
        return OurFleet(INSTANCES, directory, is_unix=row.is_unix, most=MORE_INSTANCES)
    return PlainFleet(row.flavour, INSTANCES, directory, is_held=row.is_held, is_unix=row.is_unix)


def _under_load(
    row: Row, fleet: PlainFleet | OurFleet, front: Front, load_s: float, before: int
) -> Run:
    problem, roll_s, kill = "", None, None
    with Load(front.port, row.method, CLIENTS) as load:
        load.goes_on(before)
        begun_s = time.monotonic()
        try:
            kill = roll(row.procedure, fleet, front)
            roll_s = time.monotonic() - begun_s
        except AssertionError as error:
            problem = _first_line(error)
        load.goes_on(AFTER_REQUESTS)
        load.lasts(load_s)
    clients = load.clients
    return Run(
        sent=load.sent(),
        failures=with_unread(
            (failure for client in clients for failure in client.failures), front.read_ids()
        ),
        latencies_ms=tuple(item for client in clients for item in client.latencies_ms),
        reconnects=total(client.reconnects for client in clients),
        sent_twice=sum(client.sent_twice for client in clients),
        log_kinds=log_kinds(front.log()),
        roll_s=roll_s,
        kill=kill,
        problem=problem,
    )


def _first_line(error: AssertionError) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "an assertion failed"
