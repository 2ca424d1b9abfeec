"""How the instances are replaced, by the procedure of the row.

Runs in: the bench, while the clients of a load send their requests in threads of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.waiting import pause

from benchmarks.rolling.fleets import OurFleet
from benchmarks.rolling.rows import INSTANCES, KILLED, MORE_INSTANCES, Procedure

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.rolling.fleets import PlainFleet
    from benchmarks.rolling.front import Front
    from benchmarks.rolling.outcome import Kill

APART_S = 0.2
"""Between two instances, where nothing else sets the pace."""


def _stop_start(fleet: PlainFleet, _: Front) -> None:
    for fork_id in range(INSTANCES):
        _breathe(fork_id)
        fleet.stop(fork_id)
        fleet.start(fork_id)


def _start_stop(fleet: PlainFleet, _: Front) -> None:
    for fork_id in range(INSTANCES):
        _breathe(fork_id)
        fleet.replace(fork_id)


def _down_stop_start_up(fleet: PlainFleet, front: Front) -> None:
    for fork_id in range(INSTANCES):
        front.reload(fleet.addresses, [fork_id])
        fleet.stop(fork_id)
        fleet.start(fork_id)
        front.reload(fleet.addresses)


def _down_next_in_one(fleet: PlainFleet, front: Front) -> None:
    for fork_id in range(INSTANCES):
        front.reload(fleet.addresses, [fork_id])
        fleet.stop(fork_id)
        fleet.start(fork_id)
    front.reload(fleet.addresses)


def _down_not_awaited(fleet: PlainFleet, front: Front) -> None:
    for fork_id in range(INSTANCES):
        _breathe(fork_id)
        front.reload(fleet.addresses, [fork_id], is_awaited=False)
        fleet.stop(fork_id)
        fleet.start(fork_id)
        front.reload(fleet.addresses, is_awaited=False)


def _breathe(fork_id: int) -> None:
    if fork_id:
        pause(APART_S)


def _reload(fleet: OurFleet, _: Front) -> None:
    fleet.command("reload")


def _restart_each(fleet: OurFleet, _: Front) -> None:
    for fork_id in range(INSTANCES):
        fleet.command("restart", str(fork_id))


def _scale(fleet: OurFleet, front: Front) -> None:
    fleet.command("scale", str(MORE_INSTANCES))
    front.reload(fleet.addresses_of(MORE_INSTANCES))
    pause(APART_S)
    front.reload(fleet.addresses_of(INSTANCES))
    fleet.command("scale", str(INSTANCES))


def _kill(fleet: OurFleet, _: Front) -> Kill:
    return fleet.kill(KILLED)


PLAIN: dict[Procedure, Callable[[PlainFleet, Front], None]] = {
    Procedure.STOP_START: _stop_start,
    Procedure.DOWN_STOP_START_UP: _down_stop_start_up,
    Procedure.DOWN_NEXT_IN_ONE: _down_next_in_one,
    Procedure.DOWN_NOT_AWAITED: _down_not_awaited,
    Procedure.START_STOP: _start_stop,
}
OURS: dict[Procedure, Callable[[OurFleet, Front], Kill | None]] = {
    Procedure.RELOAD: _reload,
    Procedure.RESTART_EACH: _restart_each,
    Procedure.SCALE: _scale,
    Procedure.KILL: _kill,
}


def roll(procedure: Procedure, fleet: PlainFleet | OurFleet, front: Front) -> Kill | None:
    """Replace all instances. Returns what was killed, if that is the procedure.

    Raises: AssertionError: a step failed, or did not end in its time; the others are not done.
    """
    if isinstance(fleet, OurFleet):
        return OURS[procedure](fleet, front)
    PLAIN[procedure](fleet, front)
    return None
