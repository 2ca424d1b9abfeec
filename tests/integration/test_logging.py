"""What workers log, where it goes, and the command that shows it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import REPOSITORY
from support.commands import run_command
from support.programs import require_program, require_root
from support.scripts import ScriptCluster
from support.waiting import eventually

from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartCluster
    from support.cluster import Cluster

pytestmark = pytest.mark.process

APP = "logging_app:make_app"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def start(cluster: StartCluster, *options: str, app: str = APP, **more: Any) -> Cluster:
    return cluster(app, **{"workers": 1, **more}, options=options)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def get(made: Cluster, path: str, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://127.0.0.1:{made.port()}{path}"
    return fetch(url, headers=named, timeout_s=30).body


# --- where records go -----------------------------------------------------------------------------


def test_each_process_has_its_own_file(cluster: StartCluster, logs: Path) -> None:
    """Zygote and worker, and a logger that was asked for at import; no worker holds the zygote's."""
    made = start(cluster, f"--log-dir={logs}")
    request_id = get(made, "/log?logger=orders", X_Request_Id="r-1").decode()
    held = made.get_json("/held")["files"]

    assert "r-1" == request_id
    assert [f"{logs}/logging_app.0.log", f"{logs}/orders.0.log"] == held
    assert " WARNING  zygote gen=1 " in lines(logs / "logging_app.zygote.log")[0]
    pid = made.worker_pids()[0]
    (order,) = lines(logs / "orders.0.log")
    assert order.endswith(f" INFO     worker fork_id=0 gen=1 pid={pid} req=r-1: orders: hello 0")
    access = lines(logs / "logging_app.0.log")[0]
    assert f" pid={pid} req=r-1: tornado.access: 200 GET /log?logger=orders (127.0.0.1) " in access
    assert "hello" not in made.log()


def test_json_has_the_request_in_fields(cluster: StartCluster, logs: Path) -> None:
    """Record and access log of one request share the id; an exception has its traceback."""
    made = start(cluster, f"--log-file={logs / 'all.log'}", "--log-format=json")
    get(made, "/log")
    get(made, "/fail", X_Request_Id="r-2")
    path = logs / "all.log"

    def records() -> list[dict[str, Any]]:
        return [record for line in lines(path) if "logger" in (record := json.loads(line))]

    # The line of the access log is written when the client has its answer already.
    eventually(lambda: len(records()) == 5)
    found = records()

    assert {1} == {record["generation"] for record in found}
    assert [None, 0, 0, 0, 0] == [record["fork_id"] for record in found]
    _, record, access, error, failed = found
    assert record["request_id"] == access["request_id"] != "r-2"
    assert ("GET", "/log", 200, "127.0.0.1") == tuple(
        access[name] for name in ("method", "path", "status", "remote")
    )
    assert ("r-2", "r-2", 500) == (error["request_id"], failed["request_id"], failed["status"])
    assert error["traceback"].endswith("ValueError: no such cart")


def test_without_files_warnings_go_to_standard_error(cluster: StartCluster) -> None:
    """In our form, which names the worker; what is less is not shown, as in any Python program."""
    made = start(cluster)
    get(made, "/log?level=info&text=quiet")
    get(made, "/log?level=warning&text=loud")
    pid = made.worker_pids()[0]
    log = made.log()

    assert f" WARNING  worker fork_id=0 gen=1 pid={pid} req=" in log
    assert ": shop: loud 0\n" in log
    assert "quiet" not in log


def test_what_is_logged_without_a_setup_keeps_our_form(cluster: StartCluster) -> None:
    """``logging.warning`` in an app, at import and in a handler, does not bring in Python's form."""
    made = start(cluster, "--log-format=json", app="implicit_logging_app:make_app")
    get(made, "/log")
    wanted = {"implicit at import": None, "implicit in a handler": 0, "by a logger": 0}
    eventually(lambda: '"by a logger"' in made.log())
    found = [json.loads(line) for line in made.log().splitlines() if line.startswith("{")]

    assert wanted == {item["text"]: item["fork_id"] for item in found if item["text"] in wanted}
    assert "WARNING:root:" not in made.log()


def test_an_app_that_configures_logging_is_left_alone(cluster: StartCluster, logs: Path) -> None:
    """``basicConfig`` works as anywhere; with our handler in ``dictConfig``, only that one writes."""
    basic = start(cluster, app="logging_app:make_basic_app")
    get(basic, "/log")
    own = start(cluster, f"--log-dir={logs}", app="logging_app:make_configured_app")
    get(own, "/log")

    assert "\nbasic hello 0\n" in basic.log()
    assert "req=" not in basic.log()
    assert "own INFO hello 0" == lines(logs / "web.0.log")[0]
    assert not (logs / "logging_app.0.log").exists()


def test_tornados_log_file_prefix_is_a_file_per_worker(cluster: StartCluster, logs: Path) -> None:
    """In Tornado's own form; no worker opens the file that all would share."""
    logs.mkdir()
    made = start(cluster, app_arguments=[f"--log_file_prefix={logs / 'web.log'}"], workers=2)
    eventually(lambda: get(made, "/log") and {"web.0.log", "web.1.log"} == set(os.listdir(logs)))

    assert "] hello 0" in lines(logs / "web.0.log")[0]


SCRIPT = """\
import asyncio, logging, sys
import tornado.options
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
import tornado_multi
from tornado_multi import bind_sockets, fork_processes

orders = tornado_multi.get_logger("orders")

class Main(RequestHandler):
    def get(self):
        orders.info("an order")
        logging.getLogger("shop").info("hello")
        self.write(str(tornado_multi.request_id()))

async def serve(sockets):
    HTTPServer(Application([("/", Main)])).add_sockets(sockets)
    await asyncio.Event().wait()

tornado.options.parse_command_line()
sockets = bind_sockets(0, "127.0.0.1")
fork_processes(1)
asyncio.run(serve(sockets))
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Any]:
    made: list[ScriptCluster] = []

    def run(*arguments: str, **environment: str) -> ScriptCluster:
        command = ("service.py", *arguments)
        made.append(
            ScriptCluster(tmp_path / "script", SCRIPT, command=command, environment=environment)
        )
        made[0].wait_ready()
        return made[0]

    yield run
    made[0].close()


def test_a_script_logs_where_its_settings_say(script: Any, tmp_path: Path) -> None:
    """Also by a logger that was made before the fork, and after a reload; paths are relative to where
    it was started.
    """
    made = script(TORNADO_MULTI_LOG_DIR="logs")
    made.get("/")
    assert run_command(made, "reload").returncode == 0
    made.get("/")
    found = tmp_path / "script" / "logs"

    assert ["gen=1", "gen=2"] == [line.split()[5] for line in lines(found / "orders.0.log")]
    assert 2 == sum(": shop: hello" in line for line in lines(found / "service.0.log"))


def test_a_script_that_opened_tornados_file_before_the_fork(script: Any, tmp_path: Path) -> None:
    """Its worker writes a file of its own in place of the inherited one."""
    made = script("--log_file_prefix=web.log")
    made.get("/")

    assert any("] hello" in line for line in lines(tmp_path / "script" / "web.0.log"))
    assert "hello" not in (tmp_path / "script" / "web.log").read_text()


# --- beside the audit -----------------------------------------------------------------------------


def test_a_check_writes_no_log_file(logs: Path) -> None:
    """Of an app that logs at import into a directory of its own, or by ``log_file_prefix``: the
    records are shown, and no file is a finding.
    """
    logs.mkdir()
    command = [sys.executable, "-m", "tornado_multi", "check", "own_files_app:make_app", "--json"]
    done = subprocess.run(
        [*command, "--factory", "--", f"--log_file_prefix={logs / 'tornado.log'}"],
        cwd=REPOSITORY / "tests/victims",
        env=os.environ | {"OWN_LOGS": str(logs)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    answer = json.loads(done.stdout)

    assert [] == os.listdir(logs)
    assert ([], []) == (answer["findings"], answer["factory"])
    assert ": shop: imported\n" in done.stderr


def test_a_log_file_of_ours_is_no_finding(
    cluster: StartCluster, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zygote has opened it at import, and a worker gives it back in the fork."""
    monkeypatch.setenv("OWN_LOGS", str(logs))
    made = start(cluster, "--fork-safety=strict", app="own_files_app:make_app")

    assert [] == made.status()["fork_safety"]["findings"]
    assert 1 == held_below(made.zygote_pid(), logs)
    assert 0 == held_below(made.worker_pids()[0], logs)


# --- what can go wrong ----------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_ends_the_start(cluster: StartCluster, logs: Path) -> None:
    """One sentence, and the exit code of a mistake in what was typed."""
    logs.touch()
    made = start(cluster, f"--log-dir={logs}", ready=False)

    assert 2 == made.wait_gone()
    assert f"log_dir={logs}: {logs} is no directory." in made.log()


def test_a_missing_directory_is_made_for_the_apps_user(cluster: StartCluster) -> None:
    """By root, where the user could not; its files are the user's."""
    require_root("give a directory away")
    nobody = pwd.getpwnam("nobody")
    place = Path("/tmp") / f"tornado_multi_logs_{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        shutil.copy(REPOSITORY / "tests/victims/logging_app.py", place)
        made = start(cluster, f"--log-dir={place}/a/logs", "--user=nobody", chdir=place)
        get(made, "/log")
        made.stop()
        owners = {path.stat().st_uid for path in (place / "a").rglob("*")}

        assert {nobody.pw_uid} == owners
        assert {"logging_app.0.log", "logging_app.zygote.log"} <= set(
            os.listdir(place / "a" / "logs")
        )
    finally:
        shutil.rmtree(place)


def test_a_full_disk_stops_nothing_and_is_said_once(cluster: StartCluster, tmp_path: Path) -> None:
    """On a real file system of 64 KiB: requests go on, one line says it, and what is in the file is
    whole; when there is room again, a line says how many records are missing.
    """
    require_root("mount a file system")
    require_program("unshare", "util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=64k tmpfs {disk} && exec "$@"'
    made = start(
        cluster,
        f"--log-dir={disk}",
        wrapper=["unshare", "--mount", "sh", "-c", script, "sh"],
    )
    text = "x" * 1000
    for _ in range(5):
        get(made, f"/log?count=40&text={text}")
    seen = Path(f"/proc/{made.supervisor_pid()}/root{disk}")
    path = seen / "logging_app.0.log"
    eventually(lambda: "No space left on device" in made.log())
    records = [line for line in lines(path) if "shop: x" in line]
    path.unlink()
    get(made, "/log?text=after")

    assert {f"{text} {number % 40}" for number in range(len(records))} >= {
        record.rpartition(": ")[2] for record in records
    }
    assert 1 == made.log().count("can't be written")
    after = lines(path)
    assert "records of this process were dropped here: No space left on device." in after[0]
    assert any(line.endswith("shop: after 0") for line in after)


def test_usr1_reopens_the_files_of_all_processes(cluster: StartCluster, logs: Path) -> None:
    """Nobody holds a file that was moved away, also who logs nothing just now."""
    made = start(cluster, f"--log-dir={logs}", workers=2)
    pids = [made.zygote_pid(), *made.worker_pids()]
    eventually(lambda: get(made, "/log") and [held_below(pid, logs) for pid in pids] == [1, 1, 1])
    for path in logs.iterdir():
        path.rename(f"{path}.moved")

    assert [1, 1, 1] == [held_below(pid, logs) for pid in pids]

    made.signal(signal.SIGUSR1)

    eventually(lambda: [held_below(pid, logs) for pid in pids] == [0, 0, 0])
    assert "Reopening the log files." in made.log()
    own = logs / "logging_app.supervisor.log"
    eventually(lambda: own.exists() and "Reopening the log files." in own.read_text())
    assert 1 == held_below(made.supervisor_pid(), logs)
    get(made, "/log?text=new")
    assert any("new 0" in line for path in logs.glob("*.log") for line in lines(path))


def held_below(pid: int, directory: Path) -> int:
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith(str(directory))
    return count


def test_logrotate_loses_nothing(cluster: StartCluster, logs: Path, tmp_path: Path) -> None:
    """As the page has it: renamed, told by USR1, and compressed at once."""
    logrotate = require_program("logrotate", "logrotate")
    made = start(cluster, f"--log-dir={logs}", "--log-max-bytes=0")
    conf = tmp_path / "conf"
    conf.write_text(
        f"{logs}/*.log {{\n  rotate 100\n  nocreate\n  compress\n  missingok\n  sharedscripts\n"
        f"  postrotate\n    kill -USR1 {made.pid}\n  endscript\n}}\n"
    )
    conf.chmod(0o600)
    for _ in range(3):
        get(made, "/log?count=500")
        subprocess.run([logrotate, "-f", "-s", tmp_path / "state", conf], check=True)
    get(made, "/log?count=500")
    command = f"zcat {logs}/logging_app.0.log.*.gz; cat {logs}/logging_app.0.log"

    def text() -> str:
        return subprocess.run(
            command, shell=True, capture_output=True, text=True, check=True
        ).stdout

    # The line of the access log is written when the client has its answer already.
    eventually(lambda: text().count("tornado.access: 200 ") == 4)
    assert 2000 == text().count(": shop: hello ")


# --- the command ----------------------------------------------------------------------------------


def test_logs_shows_and_filters(cluster: StartCluster, logs: Path) -> None:
    """By time, over all processes; also of a service that has ended."""
    made = start(cluster, f"--log-dir={logs}", workers=2)
    get(made, "/log?count=3&level=error&text=bad")
    get(made, "/log?logger=orders&count=200&text=order")
    eventually(lambda: sum(len(lines(path)) for path in logs.glob("*[!r].log")) == 206)
    shown = run_command(made, "logs").stdout.splitlines()

    assert 100 == len(shown)
    assert shown == sorted(shown, key=lambda line: line[:26])
    first = run_command(made, "logs", "--tail", "1000").stdout.splitlines()
    assert first[0].endswith(" supervisor: Starting.")
    assert any(": shop: imported in " in line for line in first)
    assert 3 == len(
        run_command(made, "logs", "--level", "error", "--grep", "bad").stdout.splitlines()
    )
    assert 1 == len(run_command(made, "logs", "--tail", "1").stdout.splitlines())
    since = run_command(made, "logs", "--since", "1h").stdout.splitlines()
    assert 206 == sum(
        ": shop: " in line or ": orders: " in line or "access: " in line for line in since
    )
    strange = run_command(made, "logs", "--fork-id", "7")
    assert (0, "") == (strange.returncode, strange.stdout)
    assert "No record, and no file, of fork_id 7; there are files of fork_id " in strange.stderr
    nothing = run_command(made, "logs", "--grep", "no such text")
    assert (0, "") == (nothing.returncode, nothing.stdout)
    assert "tornado-multi: No record is what these options ask for.\n" == nothing.stderr
    warnings = run_command(made, "logs", "--level", "warn").stdout.splitlines()
    assert {"WARNING", "ERROR"} == {line.split()[2] for line in warnings}
    wrong = run_command(made, "logs", "--level", "loud")
    assert (2, "") == (wrong.returncode, wrong.stdout)
    assert "level=loud: must be one of debug, info, warning, error, critical." in wrong.stderr
    wrong = run_command(made, "logs", "--since", "soon")
    assert (2, "") == (wrong.returncode, wrong.stdout)
    assert "since=soon: must be a time ago such as 10m" in wrong.stderr

    made.stop()
    gone = run_command(made, "logs")
    assert 5 == gone.returncode
    assert "--log-dir reads files without it." in gone.stderr
    last = run_command(made, "logs", "--log-dir", str(logs)).stdout.splitlines()
    assert last[-1].endswith(" supervisor: Stopped.")
    assert {line for line in shown if ": orders: " in line} >= {
        line for line in last if ": orders: " in line
    }


def test_logs_of_a_service_without_files_says_where_they_go(cluster: StartCluster) -> None:
    """Nothing to read is an answer."""
    made = start(cluster)
    done = run_command(made, "logs")

    assert 1 == done.returncode
    assert (
        "tornado-multi: The service logging_app has no log files: its records go to the standard "
        "error that it was started with. Start it with --log-dir or --log-file. If the app writes "
        "files by itself, name their directory: tornado-multi logs --log-dir DIR.\n"
    ) == done.stderr
    assert {"directory": None, "file": None, "format": "text"} == made.status()["logs"]


def test_logs_finds_what_the_app_writes_by_itself(
    cluster: StartCluster, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a handler with a directory of its own: no option says where."""
    monkeypatch.setenv("OWN_LOGS", str(logs))
    made = start(cluster, app="own_files_app:make_app")
    get(made, "/log")
    done = run_command(made, "logs")

    assert (0, "") == (done.returncode, done.stderr)
    assert ["imported", "in a handler"] == [
        line.rpartition(": ")[2] for line in done.stdout.splitlines()
    ]


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Any]:
    """Run ``logs -f``; returns what it has printed by now."""
    processes: list[subprocess.Popen[bytes]] = []
    path = tmp_path / "followed"

    def follow(made: Cluster, *arguments: str) -> Any:
        command = [sys.executable, "-m", "tornado_multi", "logs", "-f", *arguments]
        # Tests that a shell runs in the background inherit an ignored INT.
        command = ["env", "--default-signal=INT", *command]
        with path.open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [*command, "--control", str(made.control)],
                    cwd=REPOSITORY,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return lambda: path.read_text().splitlines()

    follow.processes = processes  # type: ignore[attr-defined]  # for a test that ends it by itself
    yield follow
    for process in processes:
        process.kill()
        process.wait()


def test_logs_follows_through_rotation_and_reload(
    cluster: StartCluster, logs: Path, following: Any
) -> None:
    """Every record is shown once: of before, of files that are rotated meanwhile, of the new worker;
    Ctrl-C ends the command in order.
    """
    made = start(cluster, f"--log-dir={logs}", "--log-max-bytes=3000", "--log-backups=1000")
    get(made, "/log?text=before")
    printed = following(made, "--grep", "shop: ")
    eventually(lambda: any("before" in line for line in printed()))
    get(made, "/log?count=300&text=first")
    assert run_command(made, "reload").returncode == 0
    get(made, "/log?count=300&text=second")
    wanted = [f"first {n}" for n in range(300)] + [f"second {n}" for n in range(300)]

    def seen() -> list[str]:
        found = [line.rpartition(": ")[2] for line in printed()]
        return [text for text in found if text.startswith(("first", "second"))]

    eventually(lambda: len(seen()) >= 600)
    assert wanted == seen()
    (process,) = following.processes
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(30)
    assert "Traceback" not in "\n".join(printed())


def test_logs_shows_what_became_of_a_worker(cluster: StartCluster, logs: Path) -> None:
    """The supervisor's lines are in the files too; those of a worker are shown with its own."""
    made = start(cluster, f"--log-dir={logs}", workers=2)
    (pid,) = [row["pid"] for row in made.status()["workers"] if row["fork_id"] == 1]
    os.kill(pid, signal.SIGKILL)

    def told(*options: str) -> list[str]:
        done = run_command(made, "logs", "--grep", f"pid={pid}: ", *options)
        return done.stdout.splitlines()

    eventually(told)
    assert 1 == len(told("--fork-id", "1"))
    assert [] == told("--fork-id", "0")
    assert f"worker fork_id=1 gen=1 pid={pid}: " in made.log()


def test_following_may_begin_with_nothing(
    cluster: StartCluster, logs: Path, following: Any
) -> None:
    """``--tail 0 -f`` shows what comes and nothing of before."""
    made = start(cluster, f"--log-dir={logs}")
    get(made, "/log?text=before")
    printed = following(made, "--tail", "0", "--grep", "shop: ")

    def shown() -> list[str]:
        get(made, "/log?text=after")
        return printed()

    eventually(shown)
    assert {"after 0"} == {line.rpartition(": ")[2] for line in printed()}


def test_logs_ends_with_its_reader(cluster: StartCluster, logs: Path) -> None:
    """``logs | head -1`` says nothing of a broken pipe."""
    made = start(cluster, f"--log-dir={logs}")
    get(made, "/log?count=5000")
    command = (
        f"{sys.executable} -m tornado_multi logs --tail 5000 --control {made.control} | head -1"
    )
    done = subprocess.run(
        command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert 1 == len(done.stdout.splitlines())
    assert "" == done.stderr
