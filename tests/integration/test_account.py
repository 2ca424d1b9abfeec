"""--user, --group and --umask: the app runs as somebody else, the supervisor stays what it is."""

from __future__ import annotations

import contextlib
import grp
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import processes
from support.certificates import Authority
from support.cluster import REPOSITORY, VICTIMS, can_bind
from support.commands import run_command
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartCluster
    from support.cluster import Cluster

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
NOBODY_GROUPS = sorted({NOBODY.pw_gid, *os.getgrouplist("nobody", NOBODY.pw_gid)})
OTHER_GROUP = next(group for group in grp.getgrall() if group.gr_gid not in {0, *NOBODY_GROUPS})

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not IS_ROOT and os.environ.get("CI") != "true",
        reason="only root can start a service whose app runs as another user",
    ),
]


def test_these_tests_run_as_root() -> None:
    """Elsewhere they are skipped; where CI=true that would hide them."""
    assert IS_ROOT


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that nobody may enter and read, with the app in it, and a subdirectory to write."""
    directory = Path(tempfile.mkdtemp(prefix="tornado_multi_test_"))
    directory.chmod(0o755)
    for name in ("account_app.py", "hooked.py", "hello.py"):
        shutil.copy(VICTIMS / name, directory / name)
        (directory / name).chmod(0o644)
    (directory / "written").mkdir()
    os.chown(directory / "written", NOBODY.pw_uid, NOBODY.pw_gid)
    yield directory
    shutil.rmtree(directory)


def start(cluster: StartCluster, place: Path, *options: str, **more: Any) -> Cluster:
    return cluster(
        more.pop("app", "account_app:make_app"),
        chdir=place,
        options=["--user", "nobody", *options],
        **more,
    )


def status_of(pid: int) -> dict[str, list[int]]:
    """Return the identity lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    found = {
        name: [int(word) for word in fields[name].split()] for name in ("Uid", "Gid", "Groups")
    }
    return found | {"Umask": [int(fields["Umask"], 8)]}


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as nobody, with what it imports read as root: the checkout may be private."""
    become = (
        f"import os; os.setgroups([]); os.setresgid(*[{NOBODY.pw_gid}] * 3); "
        f"os.setresuid(*[{NOBODY.pw_uid}] * 3)\n"
    )
    imports = (
        "import cyclopts.help, socket, sys, tornado_multi.cli.commands, tornado_multi.cli.serve, "
        "tornado_multi.supervisor.start, tornado_multi.supervisor.run\n"
    )
    return subprocess.run(
        [sys.executable, "-c", imports + become + code, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


# --- who is who -----------------------------------------------------------------------------------


@pytest.mark.parametrize("boot", ["preload", "lazy"])
def test_zygote_and_workers_run_as_the_user(cluster: StartCluster, place: Path, boot: str) -> None:
    """Real, effective and saved ids, groups; the supervisor stays root. Also after a reload."""
    made = start(cluster, place, "--boot", boot)
    for _ in range(2):
        for pid in [made.zygote_pid(), *made.worker_pids()]:
            seen = status_of(pid)
            assert [NOBODY.pw_uid] * 4 == seen["Uid"]
            assert [NOBODY.pw_gid] * 4 == seen["Gid"]
            assert NOBODY_GROUPS == sorted(seen["Groups"])
        assert [0] * 4 == status_of(made.pid)["Uid"]
        told = made.get_json("/")
        assert ([NOBODY.pw_uid] * 3, NOBODY.pw_uid) == (told["users"], told["imported_as"])
        assert (NOBODY.pw_dir, "nobody", "nobody") == (told["home"], told["user"], told["logname"])
        done = run_command(made, "reload")
        assert done.returncode == 0, done.stdout

    assert made.stop() == 0


def test_a_group_of_its_own(cluster: StartCluster, place: Path) -> None:
    """--group replaces the user's main group; the others stay."""
    made = start(cluster, place, "--group", OTHER_GROUP.gr_name)
    told = made.get_json("/")

    assert [OTHER_GROUP.gr_gid] * 3 == told["groups"]
    assert set(os.getgrouplist("nobody", OTHER_GROUP.gr_gid)) == set(told["others"])
    assert [NOBODY.pw_uid] * 3 == told["users"]


def test_a_group_alone(cluster: StartCluster, place: Path) -> None:
    """The user stays, the group changes."""
    made = cluster(
        "account_app:make_app", chdir=place, options=["--group", str(OTHER_GROUP.gr_gid)]
    )
    told = made.get_json("/")

    assert ([0] * 3, [OTHER_GROUP.gr_gid] * 3) == (told["users"], told["groups"])


def test_a_number_without_an_entry(cluster: StartCluster, place: Path) -> None:
    """A bare uid needs a group; HOME and USER stay as they were."""
    made = cluster(
        "account_app:make_app",
        chdir=place,
        options=["--user", "61234", "--group", "61235"],
        environment={"HOME": "/before", "USER": "before"},
    )
    told = made.get_json("/")

    assert ([61234] * 3, [61235] * 3, [61235]) == (told["users"], told["groups"], told["others"])
    assert ("/before", "before") == (told["home"], told["user"])


@pytest.mark.parametrize("user", ["nobody", None])
def test_the_umask_holds(cluster: StartCluster, place: Path, user: str | None) -> None:
    """In zygote and workers, for files that the app makes; not in the supervisor."""
    before = os.umask(0o022)
    os.umask(before)
    made = cluster(
        "account_app:make_app",
        chdir=place,
        workers=1,
        options=["--umask", "027", *(["--user", user] if user else [])],
    )
    path = place / "written" / "file"

    assert b"0o640" == made.get(f"/create?path={path}")
    assert [[0o027]] * 2 == [
        status_of(pid)["Umask"] for pid in (made.zygote_pid(), made.worker_pids()[0])
    ]
    assert [before] == status_of(made.pid)["Umask"]


# --- what it may do -------------------------------------------------------------------------------


def test_the_app_cannot_open_roots_files(cluster: StartCluster, place: Path) -> None:
    """Neither a secret, nor the control socket's directory, nor the supervisor's memory."""
    secret = place / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    made = start(cluster, place)

    for path in (secret, f"/proc/{made.pid}/environ", f"/proc/{made.pid}/mem"):
        assert b"Permission denied" == made.get(f"/open?path={path}")


def test_the_control_socket_stays_roots(cluster: StartCluster, place: Path) -> None:
    """Nobody can't connect, even where its directory can be entered."""
    made = start(cluster, place, control=place / "control.sock")
    seen = made.control.stat()
    code = (
        "try:\n    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )

    assert (0, 0o600) == (seen.st_uid, seen.st_mode & 0o777)
    assert "Permission denied\n" == as_nobody(code, str(made.control)).stdout


def test_a_key_that_only_root_may_read(cluster: StartCluster, place: Path) -> None:
    """It is read before the user changes, and again at each reload; the app can't read it."""
    authority = Authority(place / "tls")
    server = authority.sign("server")
    (place / "tls").chmod(0o700)
    options = ["--tls-certificate", str(server.certificate), "--tls-key", str(server.key)]
    made = start(cluster, place, *options)
    context = authority.client_context()
    for _ in range(2):
        served, answer = https(made, context, f"/open?path={server.key}")
        assert server.serial == served
        assert b"Permission denied" == answer
        server = authority.sign("server")
        assert run_command(made, "reload").returncode == 0


def https(made: Cluster, context: ssl.SSLContext, path: str) -> tuple[int, bytes]:
    """Return the serial number that was served, and the body of the answer."""
    connection = http.client.HTTPSConnection("127.0.0.1", made.port(), timeout=30, context=context)
    with contextlib.closing(connection):
        connection.request("GET", path)
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16), connection.getresponse().read()


def test_low_ports_and_unix_sockets_are_bound_as_root(cluster: StartCluster, place: Path) -> None:
    """The supervisor binds: the app's user needs no right to."""
    path = place / "app.sock"
    made = start(cluster, place, bind=[f"unix:{path}?mode=600"])
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = sock.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200")
    assert 0 == path.stat().st_uid
    assert made.stop() == 0
    assert not path.exists()


def test_hooks_run_as_the_user(cluster: StartCluster, place: Path) -> None:
    """All seven: in zygote, worker and processes of their own; also at the stop."""
    written = place / "written"
    (place / "faults").write_text("")
    made = start(
        cluster, place, app="hooked:make_app", workers=1,
        environment={"HOOK_RECORD": str(written / "record"), "HOOK_FAULTS": str(place / "faults")},
    )  # fmt: skip
    assert run_command(made, "reload").returncode == 0
    assert made.stop() == 0
    calls = [json.loads(line) for line in (written / "record").read_text().splitlines()]

    assert 7 == len({call["hook"] for call in calls})
    assert NOBODY.pw_uid == (written / "record").stat().st_uid


# --- what the supervisor still can ----------------------------------------------------------------


def test_memory_of_each_worker_is_known(cluster: StartCluster, place: Path) -> None:
    """A worker of another user still reads its own figures."""
    made = start(cluster, place)
    eventually(lambda: all(row["pss_bytes"] for row in made.workers()))

    assert all(row["rss_bytes"] >= row["pss_bytes"] for row in made.workers())
    assert made.get("/open?path=/proc/self/environ").startswith(b"read ")


def test_stacks_work(cluster: StartCluster, place: Path) -> None:
    """Also of a worker that blocks its loop."""
    made = start(cluster, place, workers=1)
    with made.connect() as sock:
        sock.sendall(b"GET /block?s=3 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: made.worker(0)["in_flight"] == 1)
        done = run_command(made, "stacks", "0")

    assert done.returncode == 0
    assert "account_app.py" in done.stdout
    assert "time.sleep" in done.stdout or "in get" in done.stdout


def test_workers_are_replaced_restarted_and_scaled(cluster: StartCluster, place: Path) -> None:
    """Signals reach them, and the zygote forks more."""
    made = start(cluster, place)
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2)
    assert run_command(made, "restart", "1").returncode == 0
    assert run_command(made, "scale", "3").returncode == 0
    eventually(lambda: len(made.workers()) == 3)

    assert {NOBODY.pw_uid} == {status_of(pid)["Uid"][0] for pid in made.worker_pids()}


def test_kill_of_the_supervisor_ends_all(cluster: StartCluster, place: Path) -> None:
    """What asks the kernel for it survives the change of user; also of workers forked later."""
    made = start(cluster, place)
    os.kill(made.worker_pids()[0], signal.SIGKILL)
    eventually(lambda: len(made.workers()) == 2)
    port = made.port()
    with made.connect() as sock:  # a worker that can't read its channel
        sock.sendall(b"GET /block?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)
        made.signal(signal.SIGKILL)
        made.process.wait(10)
        eventually(lambda: not made.leftovers(), within_s=10, about="processes of the tree")

    assert can_bind(port)
    made.control.unlink()
    made.control.with_name(made.control.name + ".lock").unlink()


def test_a_zygote_that_is_killed_is_replaced_as_the_user(
    cluster: StartCluster, place: Path
) -> None:
    """The next one is started by root and changes its user anew."""
    made = start(cluster, place)
    old = made.zygote_pid()
    os.kill(old, signal.SIGKILL)
    ready = eventually(
        lambda: [
            item["pid"]
            for item in made.status()["zygotes"]
            if item["state"] == "ready" and item["pid"] != old
        ]
    )

    assert [NOBODY.pw_uid] * 4 == status_of(ready[0])["Uid"]
    assert [] == [item for item in processes.children(made.pid) if item.state == "Z"]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--user", "nosuch"], "user=nosuch: there is no such user."),
        (["--group", "nosuch"], "group=nosuch: there is no such group."),
        (["--user", "61234"], "user=61234: the number has no entry in the user database"),
        (["--user", "99999999999999999999", "--group", "0"], "the number is too high"),
        (["--umask", "99"], "must be octal digits such as 027"),
    ],
)
def test_what_there_is_not_is_a_mistake_of_usage(
    cluster: StartCluster, options: list[str], said: str
) -> None:
    """Exit code 2 and one sentence; nothing is started."""
    made = cluster(ready=False, options=options)

    assert made.wait_gone() == 2
    assert said in made.log()
    assert 1 == len(made.log().splitlines())


def test_an_app_that_the_user_may_not_read(cluster: StartCluster, place: Path) -> None:
    """The sentence says who can't enter which directory."""
    place.chmod(0o700)
    made = start(cluster, place, ready=False)

    assert made.wait_gone() == 2
    assert f"The app's directory {place} can't be entered by user {NOBODY.pw_uid}" in made.log()


@pytest.mark.parametrize("options", [["--user", "root"], ["--group", "root"]])
def test_only_root_can_change(place: Path, options: list[str]) -> None:
    """Somebody else who asks for another user gets 2 and a sentence."""
    code = "sys.exit(tornado_multi.cli.commands.run_command(sys.argv[1:]))"
    control = place / "written" / "control.sock"
    command = ["serve", "account_app:make_app", "--chdir", str(place), "--bind", "127.0.0.1:0"]
    done = as_nobody(code, *command, "--control", str(control), *options)

    assert 2 == done.returncode, done.stderr
    assert f"{options[0][2:]}=root: only root can change to it" in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert [] == [*(place / "written").iterdir()]
