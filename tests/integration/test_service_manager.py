"""What a service manager hears, at a socket such as systemd's."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.cluster import VICTIMS
from support.commands import run_command
from support.notify import NotifySocket
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

STARTING = "STATUS=Starting hello:make_app."
RELOADING = "RELOADING=1\nMONOTONIC_USEC\nSTATUS=Reloading hello:make_app."
STOPPING = "STOPPING=1\nSTATUS=Stopping."
SETTINGS_GONE = "The settings can't be read"


def ready(generation: int, more: str = "") -> str:
    text = f"Serving hello:make_app: 2 of 2 workers ready, generation {generation}.{more}"
    return f"READY=1\nSTATUS={text}"


@pytest.fixture(params=["path", "abstract"])
def notify(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    """The test's notify socket, with a path and with an abstract name."""
    with NotifySocket(tmp_path / "notify" if request.param == "path" else None) as sock:
        yield sock


@pytest.fixture
def listener() -> Iterator[NotifySocket]:
    """The test's notify socket, where its kind does not matter."""
    with NotifySocket() as sock:
        yield sock


def watched(notify: NotifySocket, watchdog_s: float) -> dict[str, str]:
    return {"NOTIFY_SOCKET": notify.address, "WATCHDOG_USEC": str(int(watchdog_s * 1_000_000))}


def fail_to_reload(made: Cluster) -> None:
    assert run_command(made, "reload").returncode == 1


def test_the_messages_of_a_life(cluster: StartCluster, notify: NotifySocket) -> None:
    """Start, reload and stop in order, all said by the main process, with the clock of now."""
    made = cluster(workers=2, environment={"NOTIFY_SOCKET": notify.address})
    for _ in range(2):
        assert run_command(made, "reload").returncode == 0
    assert made.stop() == 0

    expected = [STARTING, ready(1), RELOADING, ready(2), RELOADING, ready(3), STOPPING]
    assert expected == notify.states()
    assert {made.pid} == {notice.sender_pid for notice in notify.notices}
    for notice in notify.notices:
        said_us = int(notice.fields.get("MONOTONIC_USEC", notice.at_us))
        assert 0 <= notice.at_us - said_us < 5_000_000


def test_a_failed_reload_is_told_as_one_that_is_over(
    cluster: StartCluster, listener: NotifySocket, tmp_path: Path
) -> None:
    """RELOADING, then READY with the reason; the next good reload takes the reason away."""
    app = tmp_path / "app"
    app.mkdir()
    link = app / "hello.py"
    link.symlink_to(VICTIMS / "hello.py")
    made = cluster(workers=2, chdir=app, environment={"NOTIFY_SOCKET": listener.address})
    link.unlink()
    link.write_text("raise LookupError('no such table')\n")
    fail_to_reload(made)
    link.unlink()
    link.symlink_to(VICTIMS / "hello.py")
    assert run_command(made, "reload").returncode == 0
    assert made.stop() == 0
    states = listener.states()
    reason = states[3].partition(" The last reload failed: ")[2]

    assert "LookupError: no such table" in reason
    assert [
        STARTING,
        ready(1),
        RELOADING,
        ready(1, f" The last reload failed: {reason}"),
        RELOADING,
        ready(3),
        STOPPING,
    ] == states


def test_a_reload_whose_settings_can_not_be_read_is_told_too(
    cluster: StartCluster, listener: NotifySocket, tmp_path: Path
) -> None:
    """It fails at once, and is RELOADING and READY all the same: notify-reload waits for both."""
    file = tmp_path / "settings.toml"
    file.write_text("drain_timeout_s = 3\n")
    made = cluster(
        workers=2,
        options=["--config", str(file)],
        environment={"NOTIFY_SOCKET": listener.address},
    )
    file.write_text("drain_timeout_s = [\n")
    fail_to_reload(made)
    states = listener.states()

    assert [STARTING, ready(1), "RELOADING=1\nMONOTONIC_USEC"] == states[:3]
    assert f"{ready(1)} The last reload failed: {SETTINGS_GONE}" in states[3]
    assert 4 == len(states)


def test_ready_means_every_worker(
    cluster: StartCluster, listener: NotifySocket, tmp_path: Path
) -> None:
    """While one worker's app is being built, the service is starting, whatever the others do."""
    gate = tmp_path / "gate"
    made = cluster(
        "waits_for_a_file:make_app",
        workers=2,
        ready=False,
        environment={"NOTIFY_SOCKET": listener.address, "READY_WHEN": str(gate)},
    )
    eventually(lambda: (made.try_status() or {}).get("workers") and len(made.workers()) == 1)
    early = listener.states()
    gate.touch()
    made.wait_ready()
    listener.wait_for("READY=1")

    assert ["STATUS=Starting waits_for_a_file:make_app."] == early


def test_a_failed_first_start_is_never_ready(cluster: StartCluster, listener: NotifySocket) -> None:
    """STOPPING without READY, and the exit code that tells the manager not to try again."""
    made = cluster(
        "import_raises:make_app",
        ready=False,
        environment={"NOTIFY_SOCKET": listener.address},
    )

    assert made.wait_gone() == 3
    assert ["STATUS=Starting import_raises:make_app.", STOPPING] == listener.states()


def test_a_long_drain_asks_for_more_time(cluster: StartCluster, listener: NotifySocket) -> None:
    """EXTEND_TIMEOUT_USEC comes while a request is finished; it is not said while we serve.

    The interval is 5 s, and this test waits for one of them.
    """
    made = cluster(workers=1, environment={"NOTIFY_SOCKET": listener.address})
    with made.connect() as sock:
        sock.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        before = len(listener.notices)
        made.signal(signal.SIGTERM)
        listener.wait_for("STOPPING=1", since=before)
        extended = listener.wait_for("EXTEND_TIMEOUT_USEC=", since=before, within_s=15)
        made.signal(signal.SIGINT)
        made.wait_gone()

    assert "EXTEND_TIMEOUT_USEC=15000000" == extended.text
    assert [] == [text for text in listener.texts()[:before] if "EXTEND" in text]


def test_the_watchdog_hears_of_workers_that_stand_still(
    cluster: StartCluster, listener: NotifySocket
) -> None:
    """WATCHDOG comes while workers beat, ceases when all are stopped, and comes again after that.

    The supervisor runs all the time: it is the workers' heartbeat that is passed on.
    """
    made = cluster(workers=2, environment=watched(listener, 0.4))
    pids = made.worker_pids()
    eventually(lambda: listener.count("WATCHDOG=1") >= 5)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    # The beats grow old while status is answered, and then no word comes for five periods.
    eventually(lambda: min(row["beat_age_s"] for row in made.workers()) > 2.2)
    silent_since = listener.count("WATCHDOG=1")
    eventually(lambda: min(row["beat_age_s"] for row in made.workers()) > 3.2)
    still_silent = listener.count("WATCHDOG=1")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: listener.count("WATCHDOG=1") > still_silent)

    assert silent_since == still_silent
    assert set(pids) == set(made.worker_pids())


def test_one_worker_that_beats_is_enough(cluster: StartCluster, listener: NotifySocket) -> None:
    """The manager restarts a service that stands still as a whole, not one with a slow worker."""
    made = cluster(workers=2, environment=watched(listener, 0.4))
    stopped = made.worker(0)["pid"]
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: max(row["beat_age_s"] for row in made.workers()) > 2.2)
    count = listener.count("WATCHDOG=1")
    eventually(lambda: listener.count("WATCHDOG=1") >= count + 3)
    os.kill(stopped, signal.SIGCONT)


def test_the_managers_environment_stays_with_the_supervisor(
    cluster: StartCluster, listener: NotifySocket
) -> None:
    """Neither a worker nor a program that it starts sees what was said to the supervisor."""
    hidden = watched(listener, 60) | {
        "WATCHDOG_PID": "1",
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "http",
    }
    made = cluster(workers=1, environment=hidden | {"SEEN": "yes"})
    output = made.directory / "env"
    made.get(f"/shell?command=env%3E{output}")
    seen = {
        "worker": set(made.get_json("/who")["environment"]),
        "its child": {line.partition("=")[0] for line in output.read_text().splitlines()},
    }

    for who, names in seen.items():
        assert "SEEN" in names, who
        assert set() == names & set(hidden), who


def test_a_manager_that_is_gone_stops_nothing(cluster: StartCluster, tmp_path: Path) -> None:
    """The service starts, reloads and stops though nobody listens."""
    made = cluster(workers=2, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})

    assert run_command(made, "reload").returncode == 0
    assert made.stop() == 0
