"""The command nginx at work: files, reloads of a real nginx, and what goes wrong."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import run_command
from support.instances import free_ports
from support.nginx_server import running_file, running_nginx
from support.programs import require_program, require_root
from support.waiting import eventually
from tornado.testing import bind_unused_port

from tornado_multi.deploy.nginx.plan import Private
from tornado_multi.deploy.nginx.reloading import hash_served, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process


class Command:
    """Runs the command with a configuration file in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_ports(1)
        (self.directory / "tornado_multi.toml").write_text(
            'app = "shop:make_app"\nxheaders = true\nfirst_port = 8001\ncount = 2\n'
            '[nginx]\nserver_name = ["shop.example.com"]\nlisten_address = ["127.0.0.1"]\n'
            f'private_listen = "unix:{directory}/private.sock"\nhttp_port = {self.port}\n'
            f'error_log = "{directory}/error.log"\naccess_log = "off"\n'
            f'nginx_pid_file = "{directory}/nginx.pid"\nmain_file = "{directory}/nginx.conf"\n'
            + ('nginx_user = "root"\n' if os.geteuid() == 0 else "")
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tornado_multi", "nginx", *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    require_program("nginx", "nginx")
    return Command(tmp_path)


@pytest.fixture
def pid_file(command: Command, tmp_path: Path) -> Iterator[Path]:
    """Run an nginx that includes what the command writes as two parts."""
    for part in ("upstream", "server"):
        assert 0 == command("--part", part, "--output", f"{part}.conf").returncode
    text = f"include {tmp_path}/upstream.conf; include {tmp_path}/server.conf;"
    with running_nginx(text, tmp_path) as found:
        yield found


def master(pid_file: Path) -> int:
    return int(pid_file.read_text())


# --- files ----------------------------------------------------------------------------------------


def test_a_file_is_written_once_and_its_predecessor_kept(command: Command, tmp_path: Path) -> None:
    """Mode and links are kept; the same again is no change."""
    real = tmp_path / "real.conf"
    real.write_text("# by hand\n")
    real.chmod(0o640)
    (tmp_path / "link.conf").symlink_to(real)
    first = command("--output", "link.conf")
    second = command("--output", "link.conf")

    assert (0, f"link.conf: written, the old one is {tmp_path}/.real.conf.bak\n") == (
        first.returncode,
        first.stdout,
    )
    assert (0, "link.conf: unchanged\n") == (second.returncode, second.stdout)
    assert "upstream shop {" in real.read_text()
    assert "# by hand\n" == (tmp_path / ".real.conf.bak").read_text()
    assert {0o640} == {path.stat().st_mode & 0o777 for path in tmp_path.glob("*real.conf*")}
    assert (tmp_path / "link.conf").is_symlink()


def test_what_is_printed_is_what_is_written(command: Command, tmp_path: Path) -> None:
    """And as JSON it is the same tree."""
    printed = command("--check")
    command("--output", "a.conf")
    tree = json.loads(command("--json").stdout)

    assert (0, (tmp_path / "a.conf").read_text()) == (printed.returncode, printed.stdout)
    assert "takes it." in printed.stderr
    assert ["127.0.0.1:8001", "127.0.0.1:8002"] == [peer["address"] for peer in tree["peers"]]
    assert "http" in {item["directive"] for item in tree["directives"]}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--count", "0"), 2, "count=0 (from the command line): must be 1..2048 or auto"),
        (("--server", "127.0.0.1:8002"), 2, "is an address of this service itself already"),
        (("--server", "10.0.0.5:1", "--server", "10.0.0.5:1"), 2, "10.0.0.5:1 stands there twice"),
        (("--first-port", "65535"), 2, "there is room for 1"),
        (("--unix-dir", "/run/shop", "--first-port", "8001"), 2, "only one of them"),
        (("--nginx-version", "1.10"), 2, "nginx 1.10.0 is too old"),
        (
            ("--http3", "--certificate", "/a", "--certificate-key", "/b", "--nginx-version", "1.22"),
            2, "http3 needs nginx 1.25.0 or later",
        ),
        (("--nginx-program", "no-such-nginx"), 111, "There is no program no-such-nginx here"),
        (("--nginx-program", "/bin/true", "--check"), 111, "/bin/true is not nginx"),
        (("--nginx-version", "1.31", "--check"), 111, "can't be tested: it is for nginx 1.31.0"),
        (("--include", "/no/such/file", "--check"), 1, 'open() "/no/such/file" failed'),
        (("--reload-nginx",), 2, "--reload-nginx needs --output FILE"),
        (("--live", "--control", "/no/such.sock"), 5, "No supervisor at /no/such.sock answers"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_one_sentence(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """With its exit code; nothing is printed as configuration, and nothing is written."""
    before = sorted(path.name for path in tmp_path.iterdir())
    done = command(*arguments, *([] if "--reload-nginx" in arguments else ["--output", "a.conf"]))

    assert (code, "") == (done.returncode, done.stdout), done.stderr
    assert says in done.stderr
    assert done.stderr.startswith("tornado-multi: ")
    assert 1 == done.stderr.count("\n")
    assert before == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("/no/such/directory/a.conf", "there is no directory /no/such/directory"),
        ("/proc/version", "Can't write /proc/version"),
        (".", "Can't write .: Is a directory"),
    ],
)
def test_a_file_that_can_not_be_written(command: Command, output: str, says: str) -> None:
    """The reason, and exit code 111."""
    done = command("--output", output)

    assert 111 == done.returncode
    assert says in done.stderr


def test_a_file_that_nginx_would_refuse_is_not_written(command: Command, tmp_path: Path) -> None:
    """What was there before stays."""
    (tmp_path / "a.conf").write_text("# by hand\n")
    done = command("--output", "a.conf", "--include", "/no/such/file")

    assert 1 == done.returncode
    assert "a.conf was not changed" in done.stderr
    assert "# by hand\n" == (tmp_path / "a.conf").read_text()


def test_without_nginx_a_file_is_written_untested(command: Command, tmp_path: Path) -> None:
    """For another machine, whose version is told; a line says that it was not tested."""
    done = command("--output", "a.conf", "--nginx-version", "1.31", "--nginx-program", "none-here")

    assert 0 == done.returncode
    assert "was not tested: there is no none-here here" in done.stderr
    assert "For nginx 1.31.0." in (tmp_path / "a.conf").read_text()


def test_the_addresses_of_a_running_service(cluster: StartCluster, command: Command) -> None:
    """Without settings at hand: where it listens, and its name."""
    made = cluster(workers=1)
    done = run_command(made, "nginx", "--live", "--server-name", "a.example.com")

    assert 0 == done.returncode, done.stderr
    assert "upstream hello {" in done.stdout
    assert f"server 127.0.0.1:{made.port()} max_fails=0;" in done.stdout


# --- reloads --------------------------------------------------------------------------------------


def test_a_reload_is_over_when_it_is_over(command: Command, pid_file: Path, tmp_path: Path) -> None:
    """The new hash is served, and no worker from before is left when the command returns."""
    before = workers_of(master(pid_file))
    done = command(
        "--part",
        "upstream",
        "--count",
        "3",
        "--output",
        "upstream.conf",
        "--reload-nginx",
        "--json",
    )
    report: Any = json.loads(done.stdout)

    assert 0 == done.returncode, done.stderr
    assert set() == set(before) & set(workers_of(master(pid_file)))
    assert report["config_hash"] == hash_served(
        Private(f"unix:{tmp_path}/private.sock", "shop.private")
    )
    assert len(before) == report["reload"]["workers_ended"]
    assert (tmp_path / ".upstream.conf.bak").exists()


def test_the_part_without_a_hash_is_waited_for_too(command: Command, pid_file: Path) -> None:
    """By the workers alone."""
    before = workers_of(master(pid_file))
    done = command(
        "--part", "server", "--read-timeout-s", "61", "--output", "server.conf", "--reload-nginx"
    )

    assert 0 == done.returncode, done.stderr
    assert "has taken it over in" in done.stdout
    assert set() == set(before) & set(workers_of(master(pid_file)))


def test_what_nginx_runs_already_is_not_loaded_again(command: Command, pid_file: Path) -> None:
    """Every reload costs clients their connections."""
    before = workers_of(master(pid_file))
    done = command("--part", "upstream", "--output", "upstream.conf", "--reload-nginx")

    assert (0, "upstream.conf: unchanged\nnginx runs it already\n") == (
        done.returncode,
        done.stdout,
    )
    assert before == workers_of(master(pid_file))


def test_a_file_that_does_not_fit_into_the_others_is_put_back(
    command: Command, pid_file: Path, tmp_path: Path
) -> None:
    """It passes alone; nginx refuses it beside the rest, so nginx is not even asked to reload."""
    before, text = workers_of(master(pid_file)), (tmp_path / "upstream.conf").read_text()
    main = tmp_path / "nginx.conf"
    main.write_text(main.read_text().replace("access_log off;", "access_log off; nonsense on;"))
    done = command(
        "--part", "upstream", "--count", "5", "--output", "upstream.conf", "--reload-nginx"
    )

    assert 1 == done.returncode
    assert 'unknown directive "nonsense"' in done.stderr
    assert "upstream.conf is as it was before" in done.stderr
    assert text == (tmp_path / "upstream.conf").read_text()
    assert before == workers_of(master(pid_file))


def test_a_configuration_that_nginx_drops_is_noticed(
    command: Command, pid_file: Path, tmp_path: Path
) -> None:
    """A port in use passes the test and fails the reload: nginx keeps the old one, and is believed."""
    before, text = workers_of(master(pid_file)), (tmp_path / "server.conf").read_text()
    sock, port = bind_unused_port(address="127.0.0.1")
    with sock:
        done = command(
            "--part",
            "server",
            "--http-port",
            str(port),
            "--output",
            "server.conf",
            "--reload-nginx",
        )

    assert 1 == done.returncode
    assert "still runs the old configuration" in done.stderr
    assert f"bind() to 127.0.0.1:{port} failed" in done.stderr
    assert text == (tmp_path / "server.conf").read_text()
    assert before == workers_of(master(pid_file))


def test_a_file_that_nginx_does_not_read_is_noticed(command: Command, pid_file: Path) -> None:
    """Its hash is never served."""
    done = command("--part", "upstream", "--count", "4", "--output", "other.conf", "--reload-nginx")

    assert 1 == done.returncode
    assert "has new workers, but not this configuration" in done.stderr
    assert "Does its main file include this one?" in done.stderr


def test_without_a_running_nginx_the_file_is_put_back(command: Command, tmp_path: Path) -> None:
    """It was to be loaded, and was not."""
    done = command("--output", "a.conf", "--reload-nginx")

    assert 111 == done.returncode
    assert "No nginx runs" in done.stderr
    assert not (tmp_path / "a.conf").exists()


def test_a_pid_file_of_somebody_else_is_refused(command: Command, tmp_path: Path) -> None:
    """No process that is not nginx gets a signal."""
    (tmp_path / "nginx.pid").write_text(str(os.getpid()))
    done = command("--output", "a.conf", "--reload-nginx")

    assert 111 == done.returncode
    assert f"names the process {os.getpid()}, which is not nginx" in done.stderr


def test_a_whole_file_is_loaded(command: Command, tmp_path: Path) -> None:
    """The one that the main process was started with."""
    require_root("make nginx's directories in /var/lib")
    assert 0 == command("--output", "nginx.conf").returncode
    with running_file(tmp_path / "nginx.conf", tmp_path) as pid_file:
        told_at = Private(f"unix:{tmp_path}/private.sock", "shop.private")
        old = eventually(lambda: hash_served(told_at))
        done = command("--no-gzip", "--output", "nginx.conf", "--reload-nginx")

        assert 0 == done.returncode, done.stderr
        assert hash_served(told_at) not in {None, old}
        assert workers_of(master(pid_file))


def test_instances_come_and_go_behind_nginx(
    cluster: StartCluster, command: Command, tmp_path: Path
) -> None:
    """Scale up, then nginx; nginx, then scale down: no request fails, and each instance gets some.

    1. Two instances, nginx before them, clients that never pause.
    2. scale 3, nginx --live --reload-nginx: the third is asked.
    3. nginx --count 1 --reload-nginx, scale 1: only the first is asked.
    """
    first_port = free_ports(8)
    made = cluster(
        "says_who_asks:make_app",
        command="instances",
        workers=None,
        bind=(),
        options=["--count", "2", "--first-port", str(first_port), "--xheaders"],
    )
    at = ("--first-port", str(first_port), "--control", str(made.control), "--name", "shop")
    for part in ("upstream", "server"):
        done = command(*at, "--part", part, "--output", f"{part}.conf")
        assert 0 == done.returncode, done.stderr
    text = f"include {tmp_path}/upstream.conf; include {tmp_path}/server.conf;"
    with running_nginx(text, tmp_path), asking(command.port) as asked:
        assert {0, 1} == asked.next_ones()

        assert 0 == run_command(made, "scale", "3").returncode
        done = command(
            *at, "--live", "--part", "upstream", "--output", "upstream.conf", "--reload-nginx"
        )
        assert 0 == done.returncode, done.stderr
        assert {0, 1, 2} == asked.next_ones()

        done = command(
            *at, "--count", "1", "--part", "upstream", "--output", "upstream.conf", "--reload-nginx"
        )
        assert 0 == done.returncode, done.stderr
        assert 0 == run_command(made, "scale", "1").returncode
        assert {0} == asked.next_ones()

    assert [] == asked.failures


class Asking:
    """Clients that ask one request after the other, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        self.fork_ids: list[int] = []
        self.failures: list[str] = []

    def _ask(self) -> None:
        headers = {"Host": "shop.example.com", "Connection": "close"}
        while not self._enough.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", "/", headers=headers)
                self.fork_ids.append(json.loads(connection.getresponse().read())["fork_id"])
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)

    def next_ones(self) -> set[int]:
        """Return who answers the next 60 requests, those apart that are on their way already."""
        begin = len(self.fork_ids) + len(self._threads)
        eventually(lambda: len(self.fork_ids) >= begin + 60, within_s=60, about="60 answers more")
        return set(self.fork_ids[begin : begin + 60])


@contextmanager
def asking(port: int) -> Iterator[Asking]:
    clients = Asking(port)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()
