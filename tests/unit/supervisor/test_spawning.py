"""What a zygote gets from the supervisor's environment."""

from __future__ import annotations

from tornado_multi.supervisor.spawning import app_environment


def test_the_app_gets_the_environment_without_what_a_manager_says_to_us() -> None:
    """NOTIFY_SOCKET, WATCHDOG_* and LISTEN_* are for the main process alone."""
    private = [
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
    ]
    ours = {"HOME": "/", "INVOCATION_ID": "1", "LISTEN_ADDRESS": "x", "RUNTIME_DIRECTORY": "/run"}

    assert ours == app_environment(dict.fromkeys(private, "x") | ours)
