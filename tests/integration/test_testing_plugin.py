"""The pytest plugin in projects of users: each is written down and pytest is run in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from support.certificates import Authority
from support.cluster import VICTIMS, Cluster
from support.processes import children
from support.waiting import eventually

from tornado_multi.process.linux import peek_ended_child, reap_pid
from tornado_multi.settings.bind import MAX_UNIX_PATH_BYTES
from tornado_multi.testing import Cluster as UsersCluster
from tornado_multi.testing import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process

APP = """
import os
from tornado.web import Application, RequestHandler

VERSION = "one"


class Version(RequestHandler):
    def get(self):
        print("the version was asked for")
        self.write(VERSION)


class Environment(RequestHandler):
    def get(self):
        self.write(dict(os.environ))


class Orphan(RequestHandler):
    def get(self):
        self.write(str(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")))


def make_app():
    return Application([("/", Version), ("/environment", Environment), ("/orphan", Orphan)])
"""
INI = """
[pytest]
tornado_multi_app = shop:make_app
addopts = -p no:cacheprovider --strict-markers
"""
WITHOUT_PYTEST_TORNADO = ["-p", "no:tornado", "-W", "error"]


class Project:
    """A directory with an app and tests."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("shop.py", APP)
        self.write("pytest.ini", INI)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Begin to run pytest in the project."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYT")}
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "--basetemp",
                str(self.root / "temporary"),
                *arguments,
            ],
            cwd=self.root,
            env=kept | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[str, dict[str, int]]:
        """Run pytest in the project; return its output and the numbers of its last line."""
        running = self.start(*arguments, **variables)
        output, _ = running.communicate(timeout=120)
        last = output.rstrip().splitlines()[-1]
        counts = {
            kind.removesuffix("s"): int(number)
            for number, kind in re.findall(r"(\d+) (passed|failed|errors?)", last)
        }
        return output, counts


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project; at the end what fell to this process, which other tests made a subreaper, is collected."""
    before = {child.pid for child in children(os.getpid())}  # servers that all tests share
    yield Project(tmp_path / "project")

    def all_are_collected() -> bool:
        while (pid := peek_ended_child()) is not None:
            reap_pid(pid)
        return {child.pid for child in children(os.getpid())} <= before

    eventually(all_are_collected)


@pytest.mark.parametrize("arguments", [[], WITHOUT_PYTEST_TORNADO], ids=["with", "without"])
def test_a_users_tests_do_all_that_the_fixture_can(project: Project, arguments: list[str]) -> None:
    """With pytest-tornado and without it: serve, kill, reload, scale, restart, load, stop.

    The service takes its app from the ini file and nothing from files and variables around it.
    """
    project.write("tornado_multi.toml", "nonsense = 1\n")
    project.write(
        "test_shop.py",
        """
        import os
        from pathlib import Path

        import pytest

        from tornado_multi.testing import BootFailed, ClusterError, ReloadFailed

        pytestmark = pytest.mark.tornado_multi(environment={"COLOUR": "red"})


        def test_it_serves(cluster):
            answer = cluster.get("/")

            assert (200, "one") == (answer.status, answer.text)
            assert answer.headers["content-type"].startswith("text/html")
            assert 404 == cluster.get("/nowhere").status
            assert cluster.url("/x") == f"http://127.0.0.1:{cluster.port}/x"
            seen = cluster.get("/environment").json()
            assert "red" == seen["COLOUR"]
            assert not [name for name in seen if name.startswith("TORNADO_MULTI")]
            assert 2 == len(cluster.worker_pids())
            assert "shop:make_app" == cluster.status()["app"]
            assert "the version was asked for" in cluster.wait_log("was asked")


        @pytest.mark.tornado_multi(workers=3)
        def test_a_killed_worker_is_replaced(cluster):
            with cluster.load(clients=4) as load:
                old_pid = cluster.kill(1)
                new_pid = cluster.wait_replaced(1, old_pid)

            assert new_pid != old_pid
            assert new_pid == cluster.worker(1)["pid"]
            assert 1 == cluster.worker(1)["restarts"]
            assert load.results["success"] > 0
            assert set(load.errors()) <= {"empty", "reset"}
            assert 3 == len(cluster.worker_pids())


        def test_a_reload_brings_edited_code(cluster):
            path = Path("shop.py")
            old, old_time_s = path.read_text(), path.stat().st_mtime
            try:
                with cluster.load(clients=2) as load:
                    path.write_text(old.replace('"one"', '"two"'))
                    os.utime(path, (old_time_s, old_time_s))  # as if edited within a second
                    assert 2 == cluster.reload()["generation"]
                assert "two" == cluster.get().text
                path.write_text("raise LookupError('no stock')")
                with pytest.raises(ReloadFailed, match="no stock") as failed:
                    cluster.reload()
                assert "shop.py" in failed.value.traceback
                assert "two" == cluster.get().text
            finally:
                path.write_text(old)

            assert {"success"} == set(load.results)


        def test_scale_and_restart(cluster):
            cluster.scale(3)
            first = cluster.worker_pids()
            assert 3 == len(first)
            assert cluster.restart(2) not in first
            assert first[:2] == cluster.worker_pids()[:2]
            with pytest.raises(ClusterError, match="There is no worker 7"):
                cluster.restart(7)


        def test_it_stops(cluster):
            assert 0 == cluster.stop()
            assert 0 == cluster.wait_gone()
            with pytest.raises(ConnectionRefusedError):
                cluster.get()
            with pytest.raises(ClusterError, match="ended with exit code 0"):
                cluster.reload()


        def test_several_services_at_once(cluster_factory):
            red, blue = cluster_factory(), cluster_factory(environment={"COLOUR": "blue"})
            broken = cluster_factory("shop:nothing", ready=False)

            assert red.port != blue.port
            assert ["red", "blue"] == [
                made.get("/environment").json()["COLOUR"] for made in (red, blue)
            ]
            assert 2 == broken.wait_gone()
            assert "nothing" in broken.log()
            with pytest.raises(BootFailed, match="no attribute 'nothing'"):
                cluster_factory("shop:nothing")


        @pytest.mark.tornado_multi(bind="unix:/tmp/never-there/shop.sock")
        def test_what_the_service_refuses_can_be_expected(cluster_factory):
            refused = cluster_factory(ready=False)

            assert 111 == refused.wait_gone()
        """.replace("\n        ", "\n"),
    )
    output, counts = project.run(*arguments, TORNADO_MULTI_WORKERS="nonsense")

    assert {"passed": 7} == counts, output
    assert "tornado_multi log" not in output


def test_what_went_wrong_is_told_with_its_reason(project: Project) -> None:
    """An unknown option, a bad value, a failed boot and a failed test each name their cause.

    The service's log stands beside a test that failed, not beside one that passed.
    """
    project.write("bad.py", "def make_app():\n    raise LookupError('no such tenant')\n")
    project.write(
        "test_shop.py",
        """
import pytest

def test_passes(cluster):
    pass

def test_fails(cluster):
    cluster.wait_log("control")  # the end of what it says when it is ready
    cluster.wait_for(lambda: cluster.get().status == 404, within_s=0, about="it is gone")

def test_fails_later(cluster):
    assert cluster.get("/").text == "three"

@pytest.mark.tornado_multi(workres=3)
def test_unknown_option(cluster):
    pass

@pytest.mark.tornado_multi(workers=0, drain_timeout_s="long")
def test_bad_value(cluster):
    pass

@pytest.mark.tornado_multi("bad:make_app")
def test_failed_boot(cluster):
    pass
""",
    )
    output, counts = project.run("-p", "no:tornado", "-rP")

    assert {"passed": 1, "failed": 2, "error": 3} == counts, output
    assert "serve has no option workres. Did you mean workers?" in output
    assert "--workers=0 (from the command line): must be 1..2048 or auto" in output
    assert "the service ended with exit code 3 before it was ready" in output
    assert "LookupError: no such tenant\n" in output
    assert 1 == output.count("Traceback (most recent call last)")
    assert "bad.py" in output
    assert "not true within 0 s: it is gone; last seen: False" in output
    assert 1 == output.count("the log of the service ends with:")
    assert 1 == output.count("tornado_multi log of shop:make_app")
    assert "During handling" not in output
    assert "tornado_multi/testing/" not in output


def test_what_a_service_leaves_behind_fails_its_test(project: Project) -> None:
    """A process or a socket file that is left is an error with its name; processes are killed."""
    project.write(
        "test_shop.py",
        """
import pytest

def test_process(cluster):
    cluster.get("/orphan")

def test_file(cluster):
    cluster.stop()
    cluster.control.touch()

def test_killed(cluster):
    "What a supervisor that was killed could not remove is nobody's fault."
    cluster.signal(9)
    assert cluster.wait_gone() == -9
""",
    )
    output, counts = project.run("-p", "no:tornado")
    left = set(re.findall(r"left behind: pid (\d+) sleep 600", output))

    assert {"passed": 3, "error": 2} == counts, output
    assert 1 == len(left), output

    assert "control.sock" in output.partition("left behind: /")[2].partition("\n")[0]
    found = processes.read_process(int(left.pop()))
    assert found is None or found.state == "Z"


@pytest.mark.parametrize(
    ("home", "ini"),
    [("tests", INI), ("src", INI + "pythonpath = src\n"), ("tests/shop", INI)],
    ids=["beside the test", "on pytest's path", "a package beside the test"],
)
def test_the_app_is_found_where_the_tests_have_it(project: Project, home: str, ini: str) -> None:
    """In the test file's directory, or wherever the ini file lets the tests import from."""
    project.write("pytest.ini", ini)
    (project.root / "shop.py").unlink()
    project.write(f"{home}/__init__.py" if home == "tests/shop" else f"{home}/shop.py", APP)
    project.write("tests/test_shop.py", "def test_it(cluster):\n    cluster.get('/')\n")
    output, counts = project.run("-p", "no:tornado")

    assert {"passed": 1} == counts, output


def test_two_runs_at_once_do_not_meet(project: Project, tmp_path: Path) -> None:
    """No port, path or name is fixed: runs side by side, as under xdist, both pass."""
    test = "def test_it(cluster):\n    assert len(cluster.worker_pids()) == 2\n"
    other = Project(tmp_path / "other")
    for one in (project, other):
        one.write("test_shop.py", test)
    running = [one.start("-q", "-p", "no:tornado") for one in (project, other)]
    outputs = [process.communicate(timeout=120)[0] for process in running]

    assert [0, 0] == [process.returncode for process in running], outputs


def test_a_service_does_not_outlive_the_tests(project: Project) -> None:
    """When the process of pytest is killed, every process of the service is gone."""
    project.write(
        "test_shop.py",
        """
import pathlib, signal

def test_it(cluster):
    pathlib.Path("begun").write_text(str(cluster.pid))
    pathlib.Path("begun").rename("pid")
    signal.pause()
""",
    )
    running = project.start("-p", "no:tornado")
    eventually(lambda: (project.root / "pid").exists() or running.poll() is not None)
    supervisor_pid = int((project.root / "pid").read_text())
    assert 4 == len(processes.session(supervisor_pid))
    running.kill()
    running.communicate()

    eventually(
        lambda: not [p for p in processes.session(supervisor_pid) if p.state != "Z"],
        about="the session is empty",
    )


def test_a_service_with_a_certificate_is_asked_over_https(tmp_path: Path) -> None:
    """With tls_certificate and tls_key, URLs, requests and load speak HTTPS."""
    signed = Authority(tmp_path).sign("shop")
    options = {"tls_certificate": signed.certificate, "tls_key": signed.key}
    made = UsersCluster(tmp_path / "c", "hello:make_app", options, chdir=VICTIMS, cwd=tmp_path)
    try:
        made.wait_ready()
        answer = made.get("/who?x=1")
        with made.load(clients=2) as load:
            pass
        assert f"https://127.0.0.1:{made.port}/x" == made.url("/x")
        assert answer.json()["pid"] in made.worker_pids()
        assert {"success"} == set(load.results)
    finally:
        made.close()


def test_a_service_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    """Tests may run in threads that end: the service is bound to the process, not to them."""
    made: list[Cluster] = []

    def start() -> None:
        made.append(Cluster(tmp_path / "c"))
        made[0].wait_ready()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    try:
        assert made[0].get("/")
        assert 0 == made[0].stop()
    finally:
        made[0].close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_of_the_tests_starts_services_too(tmp_path: Path) -> None:
    """The thread that spawns is not there in a forked process, which gets one of its own."""
    Cluster(tmp_path / "first").wait_ready().close()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            Cluster(tmp_path / "second").wait_ready().close()
            code = 0
        finally:
            os._exit(code)
    try:
        eventually(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    finally:
        os.kill(pid, signal.SIGKILL)  # has no effect on one that has ended and is not collected
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert 0 == code


@pytest.mark.parametrize("temporary", ["", "t" * MAX_UNIX_PATH_BYTES])
def test_a_long_directory_has_its_control_socket_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    """The kernel takes 107 bytes: the socket goes to a short directory that is removed again."""
    place = tmp_path / temporary
    place.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    directory = tmp_path / ("d" * MAX_UNIX_PATH_BYTES)
    made = UsersCluster(directory, "nothing:at_all", {}, chdir=tmp_path, cwd=tmp_path)
    control = made.control
    exit_code = made.wait_gone()
    made.close()

    assert (2, "no module 'nothing'" in made.log()) == (exit_code, True)
    assert len(os.fsencode(control)) <= MAX_UNIX_PATH_BYTES
    assert directory != control.parent
    assert not control.parent.exists()
    assert [] == [path for path in place.iterdir() if path.name.startswith("tornado_multi-")]
