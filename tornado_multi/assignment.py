"""What a process forked by the zygote is there for: the hand-over between the rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import ssl

    from tornado_multi.forksafety.inheritance import Inheritance
    from tornado_multi.hooks import Hooks
    from tornado_multi.process.channel import Channel
    from tornado_multi.process.messages import CallHook, Fork, Listener
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
    ``--boot lazy`` (the worker loads it) and in script mode."""
    app_arguments: tuple[str, ...] | None
    hooks: Hooks
    inheritance: Inheritance
    """What becomes of what the process inherits."""
    ssl_context: ssl.SSLContext | None
    """Read by the zygote, maybe as another user; None: plain HTTP."""

    def for_worker(
        self,
        command: Fork,
        channel: Channel,
        own: tuple[tuple[Listener, socket.socket], ...] = (),
    ) -> Assignment:
        """Return the assignment of one worker, made from what all of a generation share.

        Args: own: the listener of an instance.
        """
        return replace(
            self,
            listeners=self.listeners + own,
            row=command.row,
            fork_id=command.fork_id,
            is_canary=command.is_canary,
            channel=channel,
        )

    def for_hook(self, command: CallHook, channel: Channel) -> HookErrand:
        """Return what a process needs that calls one hook and ends."""
        return HookErrand(
            command.hook,
            command.report,
            self.supervisor_pid,
            channel,
            self.zygote_channel,
            self.hooks,
            self.inheritance,
        )

    def let_go(self, shared: Assignment) -> None:
        """Close the zygote's copies of what is the worker's alone.

        Args: shared: what all of a generation share. Runs in: zygote, after the fork.
        """
        self.channel.close()
        for listener in self.listeners:
            if listener not in shared.listeners:
                listener[1].close()


@dataclass(frozen=True, slots=True)
class HookErrand:
    """Everything that a process needs which calls one hook and ends."""

    hook: str
    report: dict[str, Any]
    supervisor_pid: int
    channel: Channel
    """The process's own end."""
    zygote_channel: Channel
    """The zygote's end, to be closed in the process."""
    hooks: Hooks
    inheritance: Inheritance

    def let_go(self, _shared: Assignment) -> None:
        """Close the zygote's copy of the channel. Runs in: zygote, after the fork."""
        self.channel.close()
