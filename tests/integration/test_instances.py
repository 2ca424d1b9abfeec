"""One-process servers with a listener each: started, replaced, scaled, asked for their health."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.commands import run_command
from support.instances import addresses, ask, connection_to, free_ports, start_instances
from support.posting import PostingClient, post_through_reloads
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process


@pytest.fixture(params=["tcp", "unix"])
def made(request: pytest.FixtureRequest, cluster: StartCluster, tmp_path: Path) -> Cluster:
    """Three instances, on ports or on unix sockets."""
    unix_dir = tmp_path if request.param == "unix" else None
    return start_instances(cluster, 3, unix_dir=unix_dir)


def who(address: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(address).body)
    return found


def posting_address(address: str) -> str | int:
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    return int(address.rpartition(":")[2])


def is_refused(address: str) -> bool:
    try:
        ask(address)
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


# --- who listens ----------------------------------------------------------------------------------


def test_each_instance_answers_at_its_own_address(made: Cluster) -> None:
    """And the status says which is whose."""
    status = made.status()
    found = {fork_id: who(address) for fork_id, address in addresses(made).items()}

    assert "instances" == status["mode"]
    assert {0: 0, 1: 1, 2: 2} == {key: item["fork_id"] for key, item in found.items()}
    assert made.worker_pids() == [found[fork_id]["pid"] for fork_id in range(3)]


def test_a_listener_is_held_by_the_supervisor_and_its_instance(cluster: StartCluster) -> None:
    """Not by siblings, nor by the zygote: what one does with its socket is no affair of theirs."""
    made = start_instances(cluster, 3)
    for fork_id, address in addresses(made).items():
        port = int(address.rpartition(":")[2])
        holders = {
            pid
            for pid in (made.pid, made.zygote_pid(), *made.worker_pids())
            for item in psutil.Process(pid).net_connections("tcp")
            if item.laddr.port == port and item.status == psutil.CONN_LISTEN
        }
        assert {made.pid, made.worker_pids()[fork_id]} == holders


def test_many_instances_are_announced_in_a_line(cluster: StartCluster) -> None:
    """Their first address, and their last."""
    made = start_instances(cluster, 5)
    found = addresses(made)

    assert f"{found[0]} to {found[4]}, one for each of 5 instances" in made.output()


# --- replaced -------------------------------------------------------------------------------------


def test_posts_to_each_instance_through_reloads_all_succeed(made: Cluster) -> None:
    """300 POSTs straight to the instances, keep-alive, and at least five reloads: none fails."""
    clients = [
        PostingClient(posting_address(address), 50, 0.005)
        for address in addresses(made).values()
        for _ in range(2)
    ]
    results, reloads = post_through_reloads(
        clients, lambda: run_command(made, "reload").returncode == 0
    )

    assert {"success"} == set(results), results
    assert reloads >= 5
    assert made.status()["generation"] == reloads + 1


def test_a_connection_to_a_dead_instance_waits_for_its_successor(made: Cluster) -> None:
    """Its listener is there all the time: nobody is refused, the queue is the successor's."""
    address = addresses(made)[1]
    old = made.worker(1)["pid"]
    os.kill(old, signal.SIGSTOP)
    asked = connection_to(address)
    asked.request("GET", "/who")  # queued by the kernel: nobody accepts
    os.kill(old, signal.SIGKILL)
    found = json.loads(asked.getresponse().read())
    asked.close()

    assert 1 == found["fork_id"]
    assert old != found["pid"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_instance_in_a_pause_refuses_connections(
    cluster: StartCluster, tmp_path: Path, kind: str
) -> None:
    """A client, or a proxy, knows at once; the address is the same when it serves again."""
    broken = tmp_path / "broken"
    made = start_instances(
        cluster,
        2,
        unix_dir=tmp_path if kind == "unix" else None,
        app="fails_in_place:make_app",
        environment={"BROKEN": str(broken)},
    )
    address = addresses(made)[1]
    broken.touch()
    os.kill(made.worker(1)["pid"], signal.SIGKILL)
    eventually(lambda: made.workers("backoff"))
    eventually(lambda: is_refused(address))
    assert address == addresses(made)[1]
    assert 0 == who(addresses(made)[0])["fork_id"]

    broken.unlink()
    assert 0 == run_command(made, "restart", "1").returncode
    assert 1 == who(address)["fork_id"]


def test_an_address_that_was_taken_in_a_pause_is_named(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """As soon as it is free again, the instance is back."""
    broken = tmp_path / "broken"
    environment = {"BROKEN": str(broken)}
    made = start_instances(cluster, 2, app="fails_in_place:make_app", environment=environment)
    address = addresses(made)[1]
    broken.touch()
    os.kill(made.worker(1)["pid"], signal.SIGKILL)
    eventually(lambda: made.workers("backoff"))
    eventually(lambda: is_refused(address))
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        broken.unlink()
        done = run_command(made, "restart", "1")

        assert f"Can't listen on {address} again: Address already in use." in done.stderr
    eventually(lambda: not is_refused(address))
    assert 1 == who(address)["fork_id"]


def test_restart_replaces_one_instance(made: Cluster) -> None:
    """By its fork_id; the others are left alone."""
    before = made.worker_pids()
    client = PostingClient(posting_address(addresses(made)[1]), 20, 0.005)
    client.start()
    done = run_command(made, "restart", "1")
    client.enough.set()
    client.join(60)
    after = made.worker_pids()

    assert 0 == done.returncode, done.stderr
    assert {"success"} == set(client.results)
    assert [True, False, True] == [a == b for a, b in zip(before, after, strict=True)]


def test_a_reload_may_do_with_fewer_and_no_more_processes(cluster: StartCluster) -> None:
    """With no surge, a successor starts when its predecessor has ended; all are replaced."""
    made = start_instances(cluster, 3, "--max-surge", "0", "--max-unavailable", "1")
    before = made.worker_pids()
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert not set(before) & set(made.worker_pids())
    assert {2} == {row["generation"] for row in made.workers()}


# --- scaled ---------------------------------------------------------------------------------------


def test_scaling_opens_and_closes_addresses(made: Cluster) -> None:
    """A new instance is ready when the command returns; one that is gone refuses at once."""
    assert 0 == run_command(made, "scale", "5").returncode
    grown = addresses(made)
    assert [0, 1, 2, 3, 4] == [who(address)["fork_id"] for address in grown.values()]

    done = run_command(made, "scale", "2")
    assert 0 == done.returncode
    assert f"2 workers\nclosed: {grown[2]} {grown[3]} {grown[4]}\n" in done.stdout
    assert [0, 1] == list(addresses(made))
    assert [False, False, True, True, True] == [is_refused(item) for item in grown.values()]
    if grown[4].startswith("unix:"):
        assert not os.path.exists(grown[4].removeprefix("unix:"))


def test_requests_to_an_instance_that_goes_are_answered(made: Cluster) -> None:
    """What has been asked, or only waits in the kernel's queue; afterwards it is refused."""
    address, pid = addresses(made)[2], made.worker(2)["pid"]
    slow, queued = connection_to(address), connection_to(address)
    slow.request("GET", "/slow?s=0.5")
    eventually(lambda: made.worker(2)["in_flight"] == 1)
    os.kill(pid, signal.SIGSTOP)
    queued.request("GET", "/who")
    scaling = run_in_background(made, "scale", "2")
    os.kill(pid, signal.SIGCONT)

    assert b"done" == slow.getresponse().read()
    assert pid == json.loads(queued.getresponse().read())["pid"]
    for connection in (slow, queued):
        connection.close()
    scaling.join()
    assert is_refused(address)


def test_an_instance_that_comes_back_at_once_is_there_for_all(made: Cluster) -> None:
    """While its predecessor still drains: the address is the same, and takes connections."""
    address = addresses(made)[2]
    old = made.worker(2)["pid"]
    slow = connection_to(address)
    slow.request("GET", "/slow?s=3")
    eventually(lambda: made.worker(2)["in_flight"] == 1)
    scaling = [run_in_background(made, "scale", count) for count in ("2", "3")]
    eventually(lambda: not is_refused(address) and who(address)["pid"] != old)

    assert b"done" == slow.getresponse().read()
    slow.close()
    for command in scaling:
        command.join()
    assert not is_refused(address)
    assert address == addresses(made)[2]


def test_nobody_is_let_in_while_the_service_stops(made: Cluster) -> None:
    """A scale-up by signal opens nothing then: no instance would ever come to take the connection."""
    found = addresses(made)
    slow = connection_to(found[0])
    slow.request("GET", "/slow?s=2")
    eventually(lambda: made.worker(0)["in_flight"] == 1)
    made.signal(signal.SIGTERM)
    eventually(lambda: made.workers("draining"))
    made.signal(signal.SIGTTIN)

    assert set(addresses(made)) == set(found)
    assert b"done" == slow.getresponse().read()
    slow.close()
    assert 0 == made.process.wait(30)


def run_in_background(made: Cluster, *arguments: str) -> Any:
    thread = threading.Thread(target=run_command, args=[made, *arguments])
    thread.start()
    eventually(lambda: made.status()["desired_workers"] == int(arguments[-1]))
    return thread


def test_a_count_in_the_file_is_taken_over_by_a_reload(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """Up and down, with the addresses."""
    settings = tmp_path / "shop.toml"
    first = free_ports(4)
    settings.write_text(f"count = '2'\nfirst_port = {first}\n")
    made = cluster(command="instances", workers=None, bind=(), options=["--config", str(settings)])
    for count in (4, 1):
        settings.write_text(f"count = '{count}'\nfirst_port = {first}\n")
        assert 0 == run_command(made, "reload").returncode
        eventually(lambda count=count: len(addresses(made)) == count)
    assert is_refused(f"http://127.0.0.1:{first + 1}")


# --- what is in the way ---------------------------------------------------------------------------


def test_a_port_in_use_ends_the_start(cluster: StartCluster) -> None:
    """It says which instance, which port, and who has it; the other ports are free again."""
    first = free_ports(3)
    with socket.create_server(("127.0.0.1", first + 1)):
        made = cluster(
            command="instances",
            workers=None,
            bind=(),
            options=["--count", "3", "--first-port", str(first)],
            ready=False,
        )
        assert 111 == made.process.wait(30)
        me = psutil.Process()
        assert made.log().startswith(
            f"Instance 1: Can't listen on 127.0.0.1:{first + 1}: Address already in use. "
            f"{me.name()} (pid {me.pid}) listens there;"
        )
        for port in (first, first + 2):
            socket.create_server(("127.0.0.1", port)).close()


def test_a_port_in_use_ends_a_scale_up_with_nothing_changed(cluster: StartCluster) -> None:
    """By command and by signal; when the port is free, it can be had."""
    made = start_instances(cluster, 2)
    first = int(addresses(made)[0].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", first + 3)):
        done = run_command(made, "scale", "4")
        assert 1 == done.returncode
        assert f"Instance 3: Can't listen on 127.0.0.1:{first + 3}" in done.stderr
        assert [0, 1] == list(addresses(made))
        assert 0 == run_command(made, "scale", "3").returncode
        os.kill(made.pid, signal.SIGTTIN)
        eventually(lambda: f"Instance 3: Can't listen on 127.0.0.1:{first + 3}" in made.log())
        assert 3 == made.status()["desired_workers"]
    assert 0 == run_command(made, "scale", "4").returncode


def test_a_port_in_use_fails_a_reload_that_asks_for_it(
    cluster: StartCluster, tmp_path: Path
) -> None:
    """As a transaction: the old generation serves on, in the old number."""
    settings = tmp_path / "shop.toml"
    first = free_ports(3)
    settings.write_text(f"count = '2'\nfirst_port = {first}\n")
    made = cluster(command="instances", workers=None, bind=(), options=["--config", str(settings)])
    settings.write_text(f"count = '3'\nfirst_port = {first}\n")
    with socket.create_server(("127.0.0.1", first + 2)):
        done = run_command(made, "reload")

    assert 1 == done.returncode
    assert f"Can't listen on 127.0.0.1:{first + 2}" in done.stderr
    assert (2, 1) == (made.status()["desired_workers"], made.status()["generation"])


def test_a_port_of_another_service_of_ours_names_its_supervisor(cluster: StartCluster) -> None:
    """A worker holds it too, but to stop that one would help nobody."""
    made = start_instances(cluster, 2)
    first = int(addresses(made)[0].rpartition(":")[2])
    other = cluster(
        command="instances",
        workers=None,
        bind=(),
        options=["--count", "3", "--first-port", str(first - 1)],
        ready=False,
    )

    assert 111 == other.process.wait(30)
    assert f"Instance 1: Can't listen on 127.0.0.1:{first}: " in other.log()
    assert f"tornado_multi: supervisor hello (pid {made.pid}) listens there" in other.log()


def test_ports_end_before_the_number_of_workers_does(cluster: StartCluster) -> None:
    """Scaling says how many there may be."""
    made = cluster(
        command="instances",
        workers=None,
        bind=(),
        options=["--count", "1", "--first-port", "65534"],
    )
    done = run_command(made, "scale", "3")

    assert 1 == done.returncode
    assert "must be 1..2" in done.stderr


# --- health ---------------------------------------------------------------------------------------


def test_the_health_paths_are_answered_by_the_worker(made: Cluster) -> None:
    """The app has no such path, and sees nothing of them."""
    address = addresses(made)[0]
    ready, live = ask(address, "/-/ready?verbose"), ask(address, "/-/live")
    head, post = ask(address, "/-/ready", "HEAD"), ask(address, "/-/live", "POST")

    assert [(200, b"ready\n"), (200, b"alive\n")] == [
        (item.status, item.body) for item in (ready, live)
    ]
    assert "no-store" == ready.headers["Cache-Control"]
    assert (200, b"", "6") == (head.status, head.body, head.headers["Content-Length"])
    assert (405, "GET, HEAD") == (post.status, post.headers["Allow"])
    assert 404 == ask(address, "/-/readyx").status
    assert 1 == made.worker(0)["requests"], "the app's own, the last one"


def test_health_paths_are_off_unless_they_are_asked_for(cluster: StartCluster) -> None:
    """With serve; and of instances each can be moved or switched off."""
    serving = cluster(workers=1)
    assert 404 == ask(serving.address(), "/-/ready").status
    asked = cluster(workers=1, options=["--ready-path", "/ready"])
    assert [200, 404] == [ask(asked.address(), path).status for path in ("/ready", "/-/live")]
    moved = start_instances(cluster, 1, "--ready-path", "off", "--live-path", "/alive")
    found = [ask(moved.address(), path).status for path in ("/-/ready", "/-/live", "/alive")]
    assert [404, 404, 200] == found


def test_ready_says_no_while_the_drain_delay_runs(cluster: StartCluster) -> None:
    """While requests are served as before; after the delay it is a stop like any other."""
    made = start_instances(cluster, 2, "--drain-delay-s", "3")
    address = addresses(made)[1]
    os.kill(made.pid, signal.SIGTERM)
    eventually(lambda: ask(address, "/-/ready").status == 503)

    assert b"leaving\n" == ask(address, "/-/ready").body
    assert 1 == who(address)["fork_id"]
    assert 200 == ask(address, "/-/live").status
    assert "stopping" == made.status()["state"]
    assert 0 == made.process.wait(30)
    assert "the ready path answers 503, and requests are served for 3 s more" in made.log()


def test_ready_says_no_during_the_drain(cluster: StartCluster) -> None:
    """To a connection that is still open: a request in progress holds the drain up."""
    made = start_instances(cluster, 1, "--drain-idle-s", "20")
    address = addresses(made)[0]
    kept, slow = connection_to(address), connection_to(address)
    kept.request("GET", "/-/ready")
    assert b"ready\n" == kept.getresponse().read()
    slow.request("GET", "/slow?s=3")
    eventually(lambda: made.worker(0)["in_flight"] == 1)
    os.kill(made.pid, signal.SIGTERM)
    eventually(lambda: made.workers("draining"))
    kept.request("GET", "/-/ready")
    response = kept.getresponse()

    assert (503, "close") == (response.status, response.headers["Connection"])
    assert b"done" == slow.getresponse().read()
    for connection in (kept, slow):
        connection.close()
    assert 0 == made.process.wait(30)
