"""What a new worker is told by the zygote that forked it: the hand-over between the two rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket

    from tornado_multi.process.channel import Channel
    from tornado_multi.process.messages import Fork, Listener
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
    is_canary: bool
    """The first of a reload: it asks itself for the health path before it says ready."""
    directory: str
    """The app's, as typed."""
    target: object
    """What ``module:attr`` named: an application, a factory, a delegate or a callback. None with
    ``--boot lazy``: the worker loads it."""
    app_arguments: tuple[str, ...] | None

    def for_worker(self, command: Fork, channel: Channel) -> Assignment:
        """Return the assignment of one worker, made from what all of a generation share."""
        return replace(
            self,
            row=command.row,
            fork_id=command.fork_id,
            is_canary=command.is_canary,
            channel=channel,
        )


WorkerMain = Callable[[Assignment], "NoReturn"]
"""Runs a worker and never returns. The zygote is given one; it imports no worker code itself."""
