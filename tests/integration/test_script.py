"""Script mode: a program with its own main that calls bind_sockets and fork_processes."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support import processes
from support.activation import free_port
from support.cluster import can_bind, is_listening
from support.commands import run_command
from support.load import Load
from support.scripts import GUIDE, ScriptCluster
from support.waiting import eventually

from tornado_multi.testing.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartCluster

pytestmark = pytest.mark.process

BIND = '    sockets = bind_sockets(0, "127.0.0.1")\n'
FORK = "    FORK_ID = fork_processes(2)\n"
RUN = "    asyncio.run(post_fork_main())\n"
ADD = "        server.add_sockets(sockets)\n"


class StartScript(Protocol):
    def __call__(self, text: str = ..., *, ready: bool = ..., **options: Any) -> ScriptCluster: ...


@pytest.fixture
def script(tmp_path: Path) -> Iterator[StartScript]:
    """Start scripts for this test; at its end, stop them and prove that nothing is left."""
    started: list[ScriptCluster] = []

    def start(text: str = GUIDE, *, ready: bool = True, **options: Any) -> ScriptCluster:
        made = ScriptCluster(tmp_path / f"s{len(started)}", text, **options)
        started.append(made)
        if ready:
            made.wait_ready()
        return made

    yield start
    for made in started:
        made.close()


def changed(*changes: tuple[str, str]) -> str:
    """Return the guide's example with some of its text replaced."""
    text = GUIDE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


# --- serving --------------------------------------------------------------------------------------


def test_the_guides_example_is_supervised_with_its_import_changed(script: StartScript) -> None:
    """Two workers, the pid of the program is the supervisor's, and the task ids agree."""
    made = script()
    seen = {}

    def both_have_answered() -> bool:
        who = made.get_json("/whoami")
        seen[who["fork_id"]] = who
        return len(seen) == 2

    eventually(both_have_answered)
    status = made.status()

    assert ("script", made.pid, "service.py", "service") == tuple(
        status[key] for key in ("mode", "pid", "app", "name")
    )
    assert {0, 1} == set(seen)
    assert all(who["fork_id"] == who["task_id"] == who["returned"] for who in seen.values())
    assert {row["pid"] for row in made.workers()} == {who["pid"] for who in seen.values()}


def test_a_killed_worker_is_replaced(script: StartScript) -> None:
    """By a worker with the same fork_id, forked from the program as it was at the fork."""
    made = script()
    made.edit('"v1"', '"v2"')
    old = made.worker(0)["pid"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: made.worker(0)["pid"] != old)

    assert b"v1" == made.get("/")


def test_the_tree_ends_with_its_supervisor(script: StartScript) -> None:
    """Also in script mode nothing outlives a supervisor that was killed, and the port is free."""
    made = script()
    port = made.port()
    os.kill(made.pid, signal.SIGKILL)
    made.wait_gone()
    eventually(lambda: not made.leftovers())

    assert can_bind(port)
    made.control.unlink()  # a killed supervisor can't
    (made.directory / "control.sock.lock").unlink()


def test_titles_say_who_is_who(script: StartScript) -> None:
    """As for ``serve``."""
    made = script()

    titles = sorted(process.title for process in processes.session(made.pid))

    assert [
        "tornado_multi: supervisor service",
        "tornado_multi: worker 0 gen 1",
        "tornado_multi: worker 1 gen 1",
        "tornado_multi: zygote gen 1",
    ] == titles


@pytest.mark.parametrize("asked", ["None", "0", "-1"])
def test_no_number_means_one_worker_per_cpu(script: StartScript, asked: str) -> None:
    """As Tornado does, but by affinity and quota."""
    made = script(changed(("fork_processes(2)", f"fork_processes({asked})")))

    assert len(os.sched_getaffinity(0)) == len(made.workers())


def test_the_old_way_to_start_a_loop_works_too(script: StartScript) -> None:
    """add_sockets before the loop runs, then IOLoop.start()."""
    text = changed(
        (
            RUN,
            (
                "    from tornado.ioloop import IOLoop\n"
                "    server = HTTPServer(make_app())\n"
                "    server.add_sockets(sockets)\n"
                "    IOLoop.current().start()\n"
            ),
        )
    )
    made = script(text)

    assert b"v1" == made.get("/")
    assert made.stop() == 0


def test_uvloop_of_the_scripts_own_choice(script: StartScript) -> None:
    """The loop is the program's affair; we live on whichever it runs."""
    made = script(changed((RUN, "    import uvloop\n    uvloop.run(post_fork_main())\n")))

    assert b"v1" == made.get("/")
    assert made.stop() == 0


def test_a_module_with_its_own_main(script: StartScript) -> None:
    """``python -m service`` is started anew in the same way."""
    made = script(command=("-m", "service"))
    made.edit('"v1"', '"v2"')
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert b"v2" == made.get("/")


def test_text_in_a_buffer_at_the_fork_is_written_once(script: StartScript, tmp_path: Path) -> None:
    """A worker ends as a Python program does, but does not write what it has inherited."""
    directory = tmp_path / "s0"
    directory.mkdir()
    path = directory / "lines.txt"
    # A module without functions: nothing keeps its names alive when the interpreter ends.
    text = f"FILE = open({str(path)!r}, 'w')\nFILE.write('one line')\n"
    (directory / "opened.py").write_text(text)
    made = script(changed((BIND, "    import opened\n" + BIND)))

    assert 0 == made.stop()
    assert path.read_text() in {"", "one line"}


# --- reload ---------------------------------------------------------------------------------------


def test_hup_serves_edited_code_without_a_failed_request(script: StartScript) -> None:
    """The program is started anew with its sockets; eight keep-alive clients notice nothing."""
    made = script()
    port = made.port()
    with Load(port, 8) as load:
        for version in range(2, 5):
            made.edit(f'"v{version - 1}"', f'"v{version}"')
            made.signal(signal.SIGHUP)
            load.until(lambda version=version: made.get("/") == f"v{version}".encode())
            load.until(lambda: made.status()["reload"] is None)

    assert {} == dict(load.errors())
    assert load.successes() > 50
    assert port == made.port()
    assert 4 == made.status()["generation"]


def test_a_port_that_the_script_adds_is_served_and_one_that_it_drops_is_closed(
    script: StartScript,
) -> None:
    """The sockets that stay keep their connections; a socket that nobody asks for is closed."""
    made = script()
    (first,) = made.ports()
    with Load(first, 2) as load:
        made.edit(BIND, BIND + '    sockets += bind_sockets(0, "127.0.0.1", backlog=16)\n')
        done = run_command(made, "reload")
        assert 0 == done.returncode, done.stderr
        both = made.ports()
        assert 2 == len(both)
        assert first == both[0]
        with Load(both[1], 2) as second:
            second.until(lambda: second.successes() > 20)
        assert {} == dict(second.errors())
        made.edit(BIND + '    sockets += bind_sockets(0, "127.0.0.1", backlog=16)\n', BIND)
        done = run_command(made, "reload")
        assert 0 == done.returncode, done.stderr

        assert [first] == made.ports()
        assert not is_listening(both[1])
    assert {} == dict(load.errors())


def test_a_reload_takes_the_number_of_workers_from_the_script(script: StartScript) -> None:
    """fork_processes(3) in the edited script; a number set by scale stays if the script's is the same."""
    made = script()
    assert 0 == run_command(made, "scale", "1").returncode
    assert 0 == run_command(made, "reload").returncode
    assert 1 == len(made.workers())
    made.edit("fork_processes(2)", "fork_processes(3)")
    assert 0 == run_command(made, "reload").returncode

    assert 3 == len(made.workers())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("VERSION =", "VERSION = = ", "SyntaxError"),
        ("VERSION =", "raise ValueError('broken')\nVERSION =", "ValueError: broken"),
        (
            "VERSION =",
            "sys.exit(7)\nVERSION =",
            "exited with code 7 before it called fork_processes",
        ),
        (FORK, "    return\n", "exited with code 0 before it called fork_processes"),
        (RUN, "    raise ValueError('after the fork')\n", "ValueError: after the fork"),
        (RUN, "    return\n", "returned from its main program"),
        (ADD, "", "did not call add_sockets of a Tornado server within 5 s"),
    ],
    ids=[
        "syntax",
        "raises",
        "exits",
        "no fork",
        "raises in worker",
        "returns in worker",
        "no server",
    ],
)
def test_a_bad_edit_changes_nothing(script: StartScript, old: str, new: str, said: str) -> None:
    """Exit 1 with the reason, the same worker pids, and every request answered by the old code."""
    made = script(environment={"TORNADO_MULTI_BOOT_TIMEOUT_S": "5"})
    pids = made.worker_pids()
    with Load(made.port(), 4) as load:
        made.edit('"v1"', '"v2"')
        made.edit(old, new)
        done = run_command(made, "reload")

    assert 1 == done.returncode
    assert said in done.stderr + made.log()
    assert pids == made.worker_pids()
    assert {} == dict(load.errors())
    made.edit(new, old) if new else made.edit(
        "server = HTTPServer(make_app())\n", "server = HTTPServer(make_app())\n" + ADD
    )
    assert 0 == run_command(made, "reload").returncode
    assert b"v2" == made.get("/")


# --- ends -----------------------------------------------------------------------------------------


def test_a_drain_finishes_what_is_in_hand_and_runs_the_finally_blocks(script: StartScript) -> None:
    """The main task is cancelled after the drain: its finally blocks, those around the loop and exit
    handlers run, in this order.
    """
    text = changed(
        (
            "        await asyncio.Event().wait()\n",
            (
                "        import atexit\n"
                "        atexit.register(print, 'atexit', FORK_ID)\n"
                "        try:\n"
                "            await asyncio.Event().wait()\n"
                "        finally:\n"
                "            print('task', FORK_ID)\n"
            ),
        ),
        (
            RUN,
            "    try:\n        asyncio.run(post_fork_main())\n    finally:\n        print('main', FORK_ID)\n",
        ),
        ("fork_processes(2)", "fork_processes(1)"),
    )
    made = script(text)
    bodies = []
    asking = threading.Thread(target=lambda: bodies.append(made.get("/slow?s=1")))
    asking.start()
    eventually(lambda: made.workers()[0]["in_flight"] == 1)
    made.signal(signal.SIGTERM)
    asking.join(20)

    assert [b"begun done"] == bodies
    assert 0 == made.wait_gone()
    words = [line for line in made.output().splitlines() if line.endswith(" 0")]
    assert ["task 0", "main 0", "atexit 0"] == words
    assert "Traceback" not in made.log()


def test_a_worker_that_gets_term_is_replaced(script: StartScript) -> None:
    """TERM is a clean restart of that worker, as for ``serve``."""
    made = script()
    old = made.worker(1)["pid"]
    with Load(made.port(), 4) as load:
        os.kill(old, signal.SIGTERM)
        load.until(lambda: made.worker(1)["pid"] != old)

    assert {} == dict(load.errors())


def test_when_all_workers_have_returned_the_program_ends_with_0(script: StartScript) -> None:
    """A worker whose main returns is finished, as in Tornado; the others serve on until they are."""
    text = changed(
        (
            "        await asyncio.Event().wait()\n",
            (
                "        while not os.path.exists(f'leave {FORK_ID}'):\n"
                "            await asyncio.sleep(0.02)\n"
            ),
        )
    )
    made = script(text)
    (made.directory / "leave 0").touch()
    eventually(lambda: [1] == [row["fork_id"] for row in made.workers()])
    row = next(row for row in made.status()["workers"] if row["fork_id"] == 0)

    assert ("stopped", "finished: its main program returned") == (row["state"], row["last_end"])
    assert b"v1" == made.get("/")

    (made.directory / "leave 1").touch()

    assert 0 == made.wait_gone()


def test_any_other_end_of_a_worker_is_replaced(script: StartScript) -> None:
    """An uncaught exception, here in worker 0's main once it has served."""
    text = changed(
        (
            "        await asyncio.Event().wait()\n",
            (
                "        while not os.path.exists(f'raise {FORK_ID}'):\n"
                "            await asyncio.sleep(0.02)\n"
                "        os.unlink(f'raise {FORK_ID}')\n"
                "        raise ValueError('no')\n"
            ),
        )
    )
    made = script(text)
    old = made.worker(0)["pid"]
    (made.directory / "raise 0").touch()
    eventually(lambda: made.worker(0)["pid"] != old)

    assert "ValueError: no" in made.log()


def test_the_zygotes_temporary_directory_survives_its_workers(script: StartScript) -> None:
    """A worker ends as a Python program does, but does not remove what the fork has copied."""
    text = changed(
        ("VERSION =", "import tempfile\nPLACE = tempfile.TemporaryDirectory()\nVERSION ="),
        ("self.write(VERSION)", "self.write(str(os.path.isdir(PLACE.name)))"),
    )
    made = script(text)
    old = made.worker(0)["pid"]
    os.kill(old, signal.SIGTERM)
    eventually(lambda: made.worker(0)["pid"] != old)

    assert b"True" == made.get("/")
    made.stop()


def test_a_server_class_of_the_scripts_own_drains_too(script: StartScript) -> None:
    """HTTPServer.configure does not reach subclasses; our connection handling comes before theirs."""
    text = changed(
        ("class Version", "class Server(HTTPServer):\n    pass\n\n\nclass Version"),
        ("HTTPServer(make_app())", "Server(make_app())"),
    )
    made = script(text)
    bodies = []
    asking = threading.Thread(target=lambda: bodies.append(made.get("/slow?s=1")))
    asking.start()
    eventually(lambda: sum(row["in_flight"] for row in made.workers()) == 1)

    assert 0 == made.stop()
    asking.join(20)
    assert [b"begun done"] == bodies


# --- first starts that fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        (
            FORK,
            "    asyncio.set_event_loop(asyncio.new_event_loop())\n" + FORK,
            1,
            "open event loop",
        ),
        (
            FORK,
            "    import threading\n"
            "    threading.Thread(target=time.sleep, args=(0.5,), name='poll').start()\n" + FORK,
            1,
            "fork_processes must come before any event loop and any thread",
        ),
        (FORK, FORK + FORK, 3, "fork_processes was called in a worker"),
        (ADD, "", 3, "did not call add_sockets of a Tornado server within 2 s"),
        (RUN, "    raise ValueError('no')\n", 3, "ValueError: no"),
        (RUN, "    return\n", 0, "Every worker has finished"),
    ],
    ids=["loop", "thread", "twice", "no server", "raises", "returns"],
)
def test_a_first_start_that_fails_says_why(
    script: StartScript, old: str, new: str, code: int, said: str
) -> None:
    """Nothing is left behind, and the exit code is that of ``serve``, or Python's for an exception
    before the fork.
    """
    environment = {"TORNADO_MULTI_BOOT_TIMEOUT_S": "2"}
    made = script(changed((old, new)), ready=False, environment=environment)

    assert code == made.wait_gone()
    assert said in made.log()


def test_settings_come_from_environment_and_file(script: StartScript, tmp_path: Path) -> None:
    """A wrong one ends the program with 2 before anything is bound."""
    made = script(ready=False, environment={"TORNADO_MULTI_DRAIN_TIMEOUT_S": "soon"})

    assert 2 == made.wait_gone()
    assert "drain-timeout-s" in made.log().replace("_", "-").lower()


def test_a_second_service_of_the_same_name_is_refused(script: StartScript) -> None:
    """Exit code 4, and the first one serves on."""
    made = script()
    second = script(ready=False, environment={"TORNADO_MULTI_CONTROL": str(made.control)})

    assert 4 == second.wait_gone()
    assert "Already running" in second.log()
    assert b"v1" == made.get("/")


def test_serve_refuses_an_app_that_forks_by_itself(cluster: StartCluster, tmp_path: Path) -> None:
    """Such a program is started with python; served, it would fork workers of workers."""
    (tmp_path / "forks.py").write_text("import tornado_multi\ntornado_multi.fork_processes(2)\n")
    made = cluster("forks:app", ready=False, chdir=tmp_path)

    assert 3 == made.wait_gone()
    assert "Start the program with python." in made.log()


def test_the_apps_autoreload_is_switched_off_and_explained(script: StartScript) -> None:
    """debug=True would re-execute the inherited command line in a worker."""
    made = script(changed(("Application([", "Application(debug=True, handlers=[")))

    eventually(lambda: 1 == made.log().count("Tornado's autoreload"))
    assert b"v1" == made.get("/")


def test_sockets_that_are_not_bound_by_us_are_explained(script: StartScript) -> None:
    """Tornado's own bind_sockets works until the first reload; one line says so at the start."""
    text = changed(
        (
            "from tornado_multi import bind_sockets, fork_processes",
            "from tornado.netutil import bind_sockets\nfrom tornado_multi import fork_processes",
        )
    )
    made = script(text)

    assert 1 == made.log().count("Import bind_sockets from tornado_multi too.")


def test_max_restarts_is_taken_and_explained(script: StartScript) -> None:
    """Tornado's argument has no effect, and one line says so."""
    made = script(changed(("fork_processes(2)", "fork_processes(2, max_restarts=5)")))

    assert 1 == made.log().count("max_restarts is not used")


def test_options_that_a_script_does_not_use_are_named(script: StartScript) -> None:
    """Nobody may believe that a certificate of the environment protects what the program serves."""
    given = {"TLS_CERTIFICATE": "/certificate.pem", "WORKERS": "7", "DRAIN_TIMEOUT_S": "5"}
    made = script(environment={f"TORNADO_MULTI_{name}": text for name, text in given.items()})

    assert "tls_certificate=/certificate.pem is not used" in made.log()
    assert "workers=7 is not used" in made.log()
    assert 2 == made.log().count("is not used")


def test_hooks_of_the_script_are_called(script: StartScript) -> None:
    """By name in the main module, as for ``serve`` in the app's."""
    text = changed(
        (
            "class Version",
            (
                "def after_fork(fork_id):\n    print('after_fork', fork_id)\n\n\n"
                "async def on_drain():\n    print('on_drain')\n\n\nclass Version"
            ),
        ),
        ("fork_processes(2)", "fork_processes(1)"),
    )
    made = script(text)
    made.stop()

    said = [line for line in made.output().splitlines() if line.startswith(("after", "on_"))]

    assert ["after_fork 0", "on_drain"] == said


# --- odd moments ----------------------------------------------------------------------------------


def test_a_lost_zygote_is_replaced_by_running_the_program_again(script: StartScript) -> None:
    """Workers serve on; while the program on disk is broken, status says so; mended, it comes."""
    made = script()
    pids = made.worker_pids()
    made.edit("VERSION =", "VERSION = =")
    os.kill(made.zygote_pid(), signal.SIGKILL)
    eventually(lambda: "before it called fork_processes" in (made.status()["zygote_problem"] or ""))

    assert pids == made.worker_pids()
    assert b"v1" == made.get("/")

    made.edit("VERSION = =", "VERSION =")
    eventually(lambda: [z for z in made.status()["zygotes"] if z["state"] == "ready"])

    assert pids == made.worker_pids()


def test_a_program_that_changes_its_directory_is_found_again(script: StartScript) -> None:
    """The directory and the environment of a reload are those of the start."""
    text = changed(
        (
            BIND,
            BIND + "    os.chdir('/')\n    os.environ['SEEN'] = os.environ.get('SEEN', '') + 'x'\n",
        ),
        ("self.write(VERSION)", "self.write(os.environ['SEEN'])"),
    )
    made = script(text)
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert b"x" == made.get("/")


def test_many_hups_in_a_burst_are_few_reloads(script: StartScript) -> None:
    """One generation at the end, and as many processes and descriptors as before."""
    made = script()
    before = len(processes.session(made.pid)), len(os.listdir(f"/proc/{made.pid}/fd"))
    for _ in range(300):
        made.signal(signal.SIGHUP)
    eventually(
        lambda: made.status()["last_reload"] and made.status()["reload"] is None, within_s=60
    )
    eventually(lambda: len(processes.session(made.pid)) == before[0])

    assert 1 == len({row["generation"] for row in made.workers()})
    assert before[1] == len(os.listdir(f"/proc/{made.pid}/fd"))


def test_a_stop_in_the_middle_of_a_start_is_quick(script: StartScript) -> None:
    """Workers that have no loop yet can't hear the command; TERM tells them."""
    made = script(changed((RUN, "    time.sleep(60)\n")), ready=False)
    eventually(lambda: (made.try_status() or {}).get("workers") and made.workers("starting"))
    eventually(lambda: all(row["pid"] for row in made.workers("starting")))
    made.signal(signal.SIGTERM)

    assert 0 == made.wait_gone(within_s=3)


def test_the_supervisor_holds_nothing_of_the_programs(script: StartScript) -> None:
    """A connection that the program opened before the fork ends when its workers end."""
    text = changed(
        (
            BIND,
            BIND + "    import socket\n    global ENDS\n    ENDS = socket.socketpair()\n",
        ),
        ("self.write(VERSION)", "self.write(str(os.fstat(ENDS[0].fileno()).st_ino))"),
    )
    made = script(text)
    inode = int(made.get("/"))
    holders = {
        process.pid
        for process in processes.session(made.pid)
        if inode in processes.socket_inodes(process.pid)
    }

    assert {made.zygote_pid(), *made.worker_pids()} == holders


# --- what the program leaves behind ---------------------------------------------------------------


def test_a_loop_policy_of_the_program_is_for_its_workers(script: StartScript) -> None:
    """The supervisor keeps to asyncio's loop, on which it may hear of its children."""
    made = script(changed(("VERSION =", "import uvloop\nuvloop.install()\nVERSION =")))
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert b"v1" == made.get("/")
    assert 0 == made.stop()


@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "lambda *_: 1 / 0"])
def test_a_timer_of_the_programs_start_does_not_reach_the_supervisor(
    script: StartScript, handler: str
) -> None:
    """It limited the way to the fork; workers don't inherit it, and the supervisor drops it."""
    limit = f"    import signal\n    signal.signal(signal.SIGALRM, {handler})\n"
    limit += "    signal.setitimer(signal.ITIMER_REAL, 1)\n"
    made = script(changed((FORK, limit + FORK)))
    eventually(lambda: min(row["uptime_s"] for row in made.workers()) > 1.5)

    assert b"v1" == made.get("/")


def test_a_title_of_the_programs_own_costs_no_environment(script: StartScript) -> None:
    """A title overwrites what /proc says of the environment, which a reload is to keep."""
    text = changed(
        (
            "VERSION =",
            "from setproctitle import setproctitle\nsetproctitle('shop master')\nVERSION =",
        ),
        ("self.write(VERSION)", "self.write(os.environ['SEEN'])"),
    )
    made = script(text, environment={"SEEN": "as given"})
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert b"as given" == made.get("/")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(script: StartScript, closed: str) -> None:
    """No listener gets the number of one of them, so that a reload finds all of them again."""
    made = script(wrapper=["sh", "-c", f'exec "$@" {closed}', "sh"])
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr
    assert b"v1" == made.get("/")


@pytest.mark.parametrize("way", ["path", "module"])
def test_a_directory_that_the_shell_does_not_know(
    script: StartScript, tmp_path: Path, way: str
) -> None:
    """Service managers change it without a word in $PWD; a reload begins there all the same."""
    text = changed(("VERSION =", "open('service.py').close()\nVERSION ="))
    command = (str(tmp_path / "s0" / "service.py"),) if way == "path" else ("-m", "service")
    made = script(text, command=command, environment={"PWD": "/usr"})
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr


def test_a_main_file_is_named_after_its_directory(script: StartScript, tmp_path: Path) -> None:
    """``python __main__.py`` in the directory is the same service as ``python DIRECTORY``."""
    (tmp_path / "s0").mkdir()
    (tmp_path / "s0" / "__main__.py").write_text(GUIDE)
    made = script(command=("__main__.py",))

    assert "s0" == made.status()["name"]


def test_a_supervisor_that_is_killed_takes_a_loading_program_with_it(script: StartScript) -> None:
    """It would hold the ports, and become a service of its own when it comes to its fork."""
    made = script()
    port = made.port()
    made.edit("VERSION =", "open('loads', 'w').close()\ntime.sleep(60)\nVERSION =")
    made.signal(signal.SIGHUP)
    eventually((made.directory / "loads").exists)
    os.kill(made.pid, signal.SIGKILL)
    made.wait_gone()
    eventually(lambda: not made.leftovers())

    assert can_bind(port)
    made.control.unlink()  # a killed supervisor can't
    (made.directory / "control.sock.lock").unlink()


def test_programs_that_the_loading_program_starts_can_be_ended(script: StartScript) -> None:
    """They inherit no mask: at a reload TERM ends them as it did at the start."""
    helper = "import subprocess\nhelper = subprocess.Popen(['sleep', '60'])\n"
    helper += "helper.terminate()\nhelper.wait()\n"
    made = script(changed(("VERSION =", helper + "VERSION =")))
    done = run_command(made, "reload")

    assert 0 == done.returncode, done.stderr


def test_a_server_on_another_thread_is_refused(script: StartScript) -> None:
    """At once and with the reason: the worker lives on the main thread's loop."""
    thread = (
        "    import threading\n"
        "    serving = threading.Thread(target=asyncio.run, args=(post_fork_main(),), name='side')\n"
        "    serving.start()\n"
        "    serving.join()\n"
        "    sys.exit(9)\n"
    )
    made = script(changed((RUN, thread)), ready=False)

    assert 3 == made.wait_gone()
    assert "must get its sockets in the main thread" in made.log()
    assert "add_sockets was called in 'side'" in made.log()


def test_a_handler_that_the_program_set_before_the_fork_is_its_workers(script: StartScript) -> None:
    """USR1 and USR2 are free for the program, as after Tornado's fork, also after a reload."""
    handler = "import signal\n"
    handler += "signal.signal(signal.SIGUSR1, lambda *_: open(f'{os.getpid()}', 'w').close())\n"
    made = script(changed(("VERSION =", handler + "VERSION =")))
    for _ in range(2):
        pid = made.worker(0)["pid"]
        os.kill(pid, signal.SIGUSR1)
        eventually((made.directory / str(pid)).exists)
        assert 0 == run_command(made, "reload").returncode


def test_a_program_that_cancels_all_tasks_drains_all_the_same(script: StartScript) -> None:
    """None of the tasks that it finds is what makes it a worker."""
    cancel = (
        "        await asyncio.sleep(0.1)\n"
        "        for task in asyncio.all_tasks() - {asyncio.current_task()}:\n"
        "            task.cancel()\n"
        "        open(f'cancelled {FORK_ID}', 'w').close()\n"
    )
    made = script(
        changed(
            (
                "        await asyncio.Event().wait()\n",
                cancel + "        await asyncio.Event().wait()\n",
            )
        )
    )
    for fork_id in range(2):
        eventually((made.directory / f"cancelled {fork_id}").exists)

    assert 0 == made.stop()
    assert 2 == made.log().count("Drained in")


def test_a_program_may_run_several_loops_one_after_another(script: StartScript) -> None:
    """Also if each of them has servers: the worker goes on with the loop that runs."""
    first = "    asyncio.run(asyncio.wait_for(post_fork_main(), 0.1))\n"
    twice = f"    try:\n    {first}    except TimeoutError:\n        print('again')\n"
    made = script(changed((RUN, twice + RUN)))
    eventually(lambda: 2 == made.output().count("again"))

    assert b"v1" == made.get("/")
    assert 0 == run_command(made, "reload").returncode
    assert 0 == made.stop()
    assert "Traceback" not in made.log()


def test_a_drain_goes_on_with_the_next_loop(script: StartScript) -> None:
    """A loop may end while its worker is told to leave; the word is not lost with it."""
    ends = "        while not worker_is_told():\n            await asyncio.sleep(0.001)\n"
    told = (
        "    def worker_is_told():\n"
        "        title = open('/proc/self/cmdline').read()\n"
        "        return 'draining' in title\n\n"
    )
    first = "    asyncio.run(post_fork_main())\n"
    text = changed(
        ("        await asyncio.Event().wait()\n", ends),
        (FORK, FORK + told),
        (RUN, first + "    print('again')\n" + RUN),
        ("fork_processes(2)", "fork_processes(1)"),
    )
    made = script(text)
    with made.connect():
        eventually(lambda: made.worker(0)["connections"] == 1)
        code = made.stop()

    assert 0 == code
    assert "again" in made.output()


def test_a_listener_that_each_worker_binds_is_ended_by_its_drain(script: StartScript) -> None:
    """With reuse_port the kernel would go on to queue clients for a worker that takes none."""
    port = free_port()
    listen = f"        server.listen({port}, '127.0.0.1', reuse_port=True)\n"
    made = script(changed((BIND, ""), (ADD, listen), ("fork_processes(2)", "fork_processes(1)")))
    url = f"http://127.0.0.1:{port}"

    def get(path: str) -> bytes:
        return fetch(url + path, headers={}, timeout_s=20).body

    bodies = []
    asking = threading.Thread(target=lambda: bodies.append(get("/slow?s=3")))
    asking.start()
    eventually(lambda: made.worker(0)["in_flight"] == 1)
    done = run_command(made, "reload", "--no-wait-drain")
    assert 0 == done.returncode, done.stderr
    eventually(lambda: made.workers("draining"))
    answers = {get("/") for _ in range(20)}
    asking.join(20)

    assert {b"v1"} == answers
    assert [b"begun done"] == bodies
