"""Running the steps of a page: on a machine of its own, in two terminals.

The machine is a set of Linux namespaces: its own network (so that every port is free), its own
processes (so that what is left can be counted), and its own /run, /srv and directories of /etc.
The rest of the root file system is read-only, so that no page changes the real machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support import processes
from support.pages import ANY_LINES, Command, File, NotRun, Output, PageError, complaint, matches
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.pages import Place, Step

    Found = tuple[int, dict[str, str]]

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_DIRECTORIES = (
    "/run",
    "/srv",
    "/etc/nginx/conf.d",
    "/etc/nginx/sites-enabled",
    "/etc/systemd/system",
    "/var/log/nginx",
    "/var/lib/nginx",
)
"""These are empty at the beginning of a page, and the real ones are not touched."""

TEMPORARY = "/srv/tmp"
PROGRAMS = ("unshare", "mount", "bash", "make", "curl", "pgrep", "nginx", "openssl", "logrotate")
SBIN = "/usr/sbin:/sbin"
READY = "  control "
"""How the last line of the startup block begins."""

LOOPBACK_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
)
"""SIOCSIFFLAGS with IFF_UP and IFF_RUNNING (netdevice(7)); saves a package for ``ip``."""

NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def refusal() -> str | None:
    """Return why pages can't be run here, or None."""
    path = f"{os.environ['PATH']}:{SBIN}"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"Pages need these programs: {', '.join(missing)}. `make test` installs them."
    hidden = [
        str(place)
        for place in (REPOSITORY, sys.prefix, sys.base_prefix)
        if str(place).startswith(("/run/", "/srv/"))
    ]
    if hidden:
        return f"Pages have a /run and a /srv of their own, which would hide {hidden[0]}."
    tried = subprocess.run([*_namespaces(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return (
            "Pages are run in Linux namespaces of their own, and this system refuses them: "
            f"{tried.stderr.strip()}. Run the tests as root, in a container with CAP_SYS_ADMIN."
        )
    return None


def _namespaces() -> list[str]:
    return [*NAMESPACES, *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]


class _Screen:
    """What a terminal shows, and up to where it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        path.touch()

    def begin_line(self) -> None:
        """Do as people do, who take the prompt behind an unfinished line for a line of its own."""
        shown = self.path.read_bytes()
        if shown and not shown.endswith(b"\n"):
            with self.path.open("a") as screen:
                screen.write("\n")

    def fresh(self) -> list[str]:
        return self.path.read_text(errors="replace").splitlines()[self.read :]


class _FirstTerminal:
    """The command that stays in the foreground."""

    def __init__(self, directory: Path, place: Place, text: str) -> None:
        directory.mkdir()
        self.place = place
        self.text = text
        self.screen = _Screen(directory / "screen")
        self.code_path = directory / "code"

    def code(self) -> str:
        """Return how it has ended, or nothing while it runs."""
        return self.code_path.read_text().strip() if self.code_path.exists() else ""


class Machine:
    """A fresh machine whose two terminals are in *directory*, as a context."""

    def __init__(self, records: Path, directory: str, *, within_s: float = 30.0) -> None:
        self._records = records
        self._within_s = within_s
        self._codes_path = records / "codes"
        self._sent = 0
        self._code = 0
        self._second = _Screen(records / "second")
        self._first: _FirstTerminal | None = None
        self._pids: dict[str, str] = {}
        script = [
            f"{shlex.quote(sys.executable)} -c {shlex.quote(LOOPBACK_UP)}",
            *(f"mount -t tmpfs tmpfs {path}" for path in OWN_DIRECTORIES if os.path.isdir(path)),
            f"mount --bind {shlex.quote(str(records))} {shlex.quote(str(records))}",
            "mount -o remount,bind,ro /",
            f"mkdir -p {directory} {TEMPORARY}",
            f"cd {directory}",
            "exec bash --noprofile --norc",
        ]
        (records / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal: no progress
        with (records / "errors").open("w") as errors:
            self._shell = subprocess.Popen(
                [*_namespaces(), "sh", "-ec", "\n".join(script)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:{SBIN}",
                    "HOME": str(records),
                    "TMPDIR": TEMPORARY,
                    "LANG": "C.UTF-8",
                },
            )

    def __enter__(self) -> Self:
        self.prepare("true")
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever is left: nothing outlives the first process of its namespace."""
        for process in processes.children(self._shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._shell.communicate(timeout=10)

    # --- steps ------------------------------------------------------------------------------------

    def perform(self, step: Step) -> None:
        """Do what the reader does, and compare what comes.

        Raises: PageError: it is not what the page shows.
        """
        match step:
            case Command() if step.stays:
                self._start(step)
            case Command():
                self._do(step)
            case Output():
                self._watch(step)
            case File():
                name = shlex.quote(step.path)
                self.prepare(
                    f"mkdir -p $(dirname {name}) && printf %s {shlex.quote(step.content)} >{name}"
                )
            case NotRun():
                pass

    def prepare(self, text: str) -> None:
        """Run what a page takes for granted."""
        if self._run(text) != 0:
            errors = (self._records / "errors").read_text()
            raise PageError("\n".join([f"failed: {text}", *self._second.fresh(), errors]))

    def finish(self) -> None:
        """End the first terminal's command, and prove that no process is left."""
        self.press_ctrl_c()
        eventually(lambda: not self._left(), within_s=5, about="no process is left by the page")

    def press_ctrl_c(self) -> None:
        """End the command in the first terminal, if there is one."""
        first, self._first = self._first, None
        if first is None:
            return
        if code := first.code():
            if code != "0":
                problem = f"`{first.text}` exited with {code}"
                raise complaint(first.place, problem, (), first.screen.fresh())
            return
        code_before = self._code
        if self._run("kill -INT -- -$first; wait $first") is None:
            problem = f"Ctrl-C does not end `{first.text}`"
            raise complaint(first.place, problem, (), first.screen.fresh())
        self._code = code_before

    def _do(self, step: Command) -> None:
        code = self._run(self._with_real_pids(step.text))
        seen = self._second.fresh()
        if code is None:
            problem = f"`{step.text}` has not ended within {self._within_s:g} s, or ended the shell"
            raise complaint(step.place, problem, step.shown, seen)
        if step.in_background:
            return  # what it prints belongs to the next command
        if code and not step.code_is_shown:
            problem = f"`{step.text}` exited with {code}, and no `$ echo $?` follows"
            raise complaint(step.place, problem, step.shown, seen)
        fitting = [pids for end, pids in matches(step.shown, seen) if end == len(seen)]
        if not fitting and not step.hidden:
            raise complaint(step.place, f"`{step.text}` printed something else", step.shown, seen)
        self._pids |= fitting[0] if fitting else {}
        self._second.read += len(seen)

    def _start(self, step: Command) -> None:
        self.press_ctrl_c()
        first = self._first = _FirstTerminal(
            self._records / f"first-{step.place.line}", step.place, step.text
        )
        # With job control it has a process group of its own, which is what Ctrl-C reaches.
        text = shlex.quote(self._with_real_pids(step.text))
        self._send(
            f"set -m; {{ eval {text}; echo $? >{first.code_path}; }} "
            f"</dev/null >>{first.screen.path} 2>&1 & first=$!; set +m"
        )
        if step.shown:
            self._await(first, step.place, step.shown, lambda seen: matches(step.shown, seen))
        else:
            self._await(first, step.place, (f"{READY}...",), _block_end)

    def _watch(self, step: Output) -> None:
        if self._first is None:
            raise PageError(f"{step.place}: no command is in the first terminal")
        shown = (ANY_LINES, *step.shown)
        self._await(self._first, step.place, step.shown, lambda seen: matches(shown, seen))

    def _await(
        self,
        first: _FirstTerminal,
        place: Place,
        shown: tuple[str, ...],
        find: Callable[[list[str]], Iterator[Found]],
    ) -> None:
        """Wait until the lines have come, and count them as read."""

        def look() -> Found | str | None:
            code = first.code()  # before the lines: an ended command prints no more
            found = next(find(first.screen.fresh()), None)
            return found or (code and f"has exited with {code} and not printed this")

        found: Found | str | None = f"has not printed this within {self._within_s:g} s"
        with contextlib.suppress(AssertionError):
            found = eventually(look, within_s=self._within_s)
        if not isinstance(found, tuple):
            raise complaint(place, f"`{first.text}` {found}", shown, first.screen.fresh())
        first.screen.read += found[0]
        self._pids |= found[1]

    # --- the shell --------------------------------------------------------------------------------

    def _send(self, text: str) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.write(f"{text}\n")
            self._shell.stdin.flush()

    def _codes(self) -> list[str]:
        return self._codes_path.read_text().splitlines() if self._codes_path.exists() else []

    def _run(self, text: str) -> int | None:
        """Run bash code in the second terminal; return its code, or None if none comes."""
        self._sent += 1
        self._second.begin_line()
        self._send(
            f"(exit {self._code}); eval {shlex.quote(text)} </dev/null >>{self._second.path} 2>&1; "
            f"echo $? >>{self._codes_path}"
        )
        with contextlib.suppress(AssertionError):
            eventually(
                lambda: len(self._codes()) >= self._sent or self._shell.poll() is not None,
                within_s=self._within_s,
            )
        codes = self._codes()
        if len(codes) < self._sent:
            return None
        self._code = int(codes[-1])
        return self._code

    def _with_real_pids(self, text: str) -> str:
        """Replace the pids that the page shows by those of the processes that they stand for."""
        return re.sub(r"\b\d+\b", lambda found: self._pids.get(found[0], found[0]), text)

    def _left(self) -> list[str]:
        """Return the titles of the machine's processes but for the shell."""
        shell = processes.children(self._shell.pid)[0].pid
        namespace = _pid_namespace(shell)
        return [
            process.title
            for process in processes.all_processes()
            if process.pid != shell and _pid_namespace(process.pid) == namespace
        ]


def _block_end(seen: list[str]) -> Iterator[Found]:
    return ((index, {}) for index, line in enumerate(seen, 1) if line.startswith(READY))


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None  # it has ended
