"""Importing the package does nothing but import.

In a fresh interpreter with an audit hook: no socket, no process, no thread, no file written. The
supervisor and its commands stay free of what only a worker needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

WATCH = r"""
import json, os, pkgutil, sys, threading

import tornado_multi

seen, watching = [], True
ACTS = ("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.system", "os.kill",
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.symlink",
    "os.truncate", "os.putenv", "os.unsetenv", "os.chdir", "shutil.", "tempfile.", "fcntl.",
    "signal.", "mmap.", "urllib.", "resource.setrlimit", "_thread.start_new_thread")


def hook(event, arguments):
    if not watching:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        is_module = str(path).endswith((".py", ".pyc", ".so")) or ".so." in str(path)
        if writes or not is_module:
            seen.append([event, str(path), str(mode)])
    elif event.startswith(ACTS):
        seen.append([event, repr(arguments)[:200]])


class Environment(dict):
    '''The environment, with a note of who asks for what.'''

    asked = []

    def __getitem__(self, key):
        self.note(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.note(key)
        return super().get(key, default)

    def note(self, key):
        frame = sys._getframe(2)
        while frame.f_globals.get("__name__") == "os":  # os.getenv
            frame = frame.f_back
        caller = frame.f_globals.get("__name__", "?")
        if caller.partition(".")[0] == "tornado_multi":
            self.asked.append([caller, key])


names = [
    name
    for _, name, _ in pkgutil.walk_packages(tornado_multi.__path__, "tornado_multi.")
    if not name.endswith(".__main__")
]
before = sorted(os.listdir("/proc/self/fd"))
# What the libraries do at import is their own affair: they come first, unwatched.
for name in names:
    __import__(name)
names.insert(0, "tornado_multi")
for name in names:
    sys.modules.pop(name, None)
os.environ = Environment(os.environ)
sys.dont_write_bytecode = True
seen.clear()
sys.addaudithook(hook)
for name in names:
    __import__(name)
watching = False
print(json.dumps({
    "names": names,
    "seen": seen,
    "asked": Environment.asked,
    "threads": threading.active_count(),
    "opened": sorted(set(os.listdir("/proc/self/fd")) - set(before)),
}))
"""
LEFT_OUT = ("tornado", "uvloop", "rich", "httptools", "psutil", "watchfiles")
LOADED = """
import json, sys
{imports}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def run_fresh(program: str) -> Any:
    """Run a program in a fresh interpreter; return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def watched() -> Any:
    """What happened while every module of the package was imported."""
    return run_fresh(WATCH)


def test_every_module_is_imported(watched: Any) -> None:
    """The walk finds the rooms; none needs anything but its import."""
    found = set(watched["names"])

    assert {
        "tornado_multi.supervisor.run",
        "tornado_multi.worker.run",
        "tornado_multi.zygote.run",
        "tornado_multi.zygote_process",
        "tornado_multi.script_process",
        "tornado_multi.cli.commands",
        "tornado_multi.control.server",
        "tornado_multi.settings.load",
        "tornado_multi.process.linux",
        "tornado_multi.resources.per_process",
        "tornado_multi.logs.setup",
        "tornado_multi.testing.plugin",
        "tornado_multi.testing.leash",
    } <= found


def test_importing_acts_on_nothing(watched: Any) -> None:
    """No socket, no process, no thread, no signal handler, no file but modules."""
    assert [] == watched["seen"]
    assert 1 == watched["threads"]
    assert [] == watched["opened"]


def test_importing_reads_no_environment(watched: Any) -> None:
    """Settings are read when a command asks for them."""
    assert [] == watched["asked"]


@pytest.mark.parametrize(
    "imports",
    [
        "import tornado_multi",
        "import tornado_multi.supervisor.run, tornado_multi.supervisor.start",
        "import tornado_multi.cli, tornado_multi.cli.commands, tornado_multi.cli.serve",
        "import tornado_multi.cli.stop, tornado_multi.cli.status, tornado_multi.cli.logs",
    ],
    ids=["package", "supervisor", "serve", "commands"],
)
def test_the_supervisor_and_its_commands_load_no_worker_code(imports: str) -> None:
    """The supervisor stays small, and can't be broken by what it never loads."""
    loaded = set(run_fresh(LOADED.format(imports=imports)))

    assert set() == loaded & set(LEFT_OUT)


def test_public_names_are_resolved_on_first_use() -> None:
    """``import tornado_multi`` in an app costs next to nothing."""
    loaded = run_fresh(
        "import json, sys, tornado_multi\n"
        "before = set(sys.modules)\n"
        "assert tornado_multi.fork_id() is None\n"
        "assert 'fork_id' in dir(tornado_multi)\n"
        "print(json.dumps(sorted(m for m in before if m.startswith('tornado_multi'))))\n"
    )

    assert ["tornado_multi", "tornado_multi.version"] == loaded


def test_the_pytest_plugin_costs_next_to_nothing() -> None:
    """It is loaded in every run of pytest, so it brings no module but its own."""
    loaded = run_fresh(
        "import json, sys, pytest, contextlib, typing\n"
        "before = set(sys.modules)\n"
        "import tornado_multi.testing.plugin\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )

    assert [
        "tornado_multi",
        "tornado_multi.testing",
        "tornado_multi.testing.plugin",
        "tornado_multi.version",
    ] == loaded


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    import tornado_multi

    with pytest.raises(AttributeError, match="module 'tornado_multi' has no attribute 'nothing'"):
        tornado_multi.nothing  # noqa: B018


def test_every_public_name_is_there() -> None:
    """What ``__all__`` promises can be had."""
    import tornado_multi
    import tornado_multi.testing as for_tests

    assert [] == [name for name in tornado_multi.__all__ if not hasattr(tornado_multi, name)]
    assert [] == [name for name in for_tests.__all__ if not hasattr(for_tests, name)]
