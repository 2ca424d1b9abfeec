"""What a zygote gets from the supervisor's environment."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

from tornado_multi.process.messages import Boot
from tornado_multi.supervisor.spawning import ServeSpawner, app_environment

if TYPE_CHECKING:
    from tornado_multi.process.channel import Channel


def boot(scoreboard_fd: int) -> Boot:
    return Boot(1, os.getpid(), scoreboard_fd, (), "/", {}, None, None)


def test_the_app_gets_the_environment_without_what_a_manager_says_to_us() -> None:
    """NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* are for the main process alone."""
    private = [
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
    ]
    ours = {"HOME": "/", "INVOCATION_ID": "1", "LISTEN_ADDRESS": "x", "RUNTIME_DIRECTORY": "/run"}

    assert ours == app_environment(dict.fromkeys(private, "x") | ours)


def end(pid: int, channel: Channel) -> int:
    """Let a zygote leave, and return how it ended, as waitpid says it."""
    channel.close()
    return os.waitpid(pid, 0)[1]


@pytest.mark.process
def test_the_first_zygote_is_the_one_that_was_started_ahead() -> None:
    """Its interpreter starts while ours imports; the next zygote is a process of its own."""
    spawner = ServeSpawner()
    read_fd, write_fd = os.pipe()
    try:
        spawner.start_ahead([read_fd])
        assert spawner._ahead is not None
        ahead = spawner._ahead[0]
        first, first_channel = spawner.spawn(boot(read_fd))
        second, second_channel = spawner.spawn(boot(read_fd))
        ends = [end(first, first_channel), end(second, second_channel)]
    finally:
        os.close(read_fd)
        os.close(write_fd)

    assert ahead == first
    assert second != first
    assert len(ends) == 2


@pytest.mark.process
def test_a_zygote_killed_before_its_boot_message_is_replaced() -> None:
    """Whoever kills it then must not keep the service from starting."""
    spawner = ServeSpawner()
    read_fd, write_fd = os.pipe()
    try:
        spawner.start_ahead([read_fd])
        assert spawner._ahead is not None
        killed = spawner._ahead[0]
        os.kill(killed, signal.SIGKILL)
        os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
        pid, channel = spawner.spawn(boot(read_fd))
        os.waitpid(killed, 0)
        end(pid, channel)
    finally:
        os.close(read_fd)
        os.close(write_fd)

    assert pid != killed


@pytest.mark.process
def test_a_zygote_that_is_called_off_leaves() -> None:
    """A start that is refused after all leaves no process behind."""
    spawner = ServeSpawner()
    read_fd, write_fd = os.pipe()
    try:
        spawner.start_ahead([read_fd])
        assert spawner._ahead is not None
        pid = spawner._ahead[0]
        spawner.call_off()
        ended = eventually(lambda: os.waitpid(pid, os.WNOHANG)[0])
    finally:
        os.close(read_fd)
        os.close(write_fd)

    assert ended == pid
