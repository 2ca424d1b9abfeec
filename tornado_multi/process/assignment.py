"""What a new worker is told by the zygote that forked it: the hand-over between the two rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket

    from tornado_multi.process.channel import Channel
    from tornado_multi.process.messages import Listener
    from tornado_multi.process.scoreboard import Scoreboard
    from tornado_multi.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything a worker needs. The fork copies it; nothing is sent."""

    fork_id: int
    generation: int
    row: int
    supervisor_pid: int
    channel: Channel
    """The worker's own end."""
    zygote_channel: Channel
    """The zygote's end, to be closed in the worker."""
    scoreboard: Scoreboard
    listeners: tuple[tuple[Listener, socket.socket], ...]
    settings: Settings
    target: object
    """What ``module:attr`` named: an application, a factory, a delegate or a callback."""
    app_arguments: tuple[str, ...] | None

    def for_worker(self, row: int, fork_id: int, channel: Channel) -> Assignment:
        """Return the assignment of one worker, made from what all of a generation share."""
        return replace(self, row=row, fork_id=fork_id, channel=channel)


WorkerMain = Callable[[Assignment], "NoReturn"]
"""Runs a worker and never returns. The zygote is given one; it imports no worker code itself."""
