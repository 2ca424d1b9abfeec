"""The program nginx: its version, its test of a configuration. Acting. Runs in: commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.rehearsal import Rehearsal
from tornado_multi.deploy.nginx.versions import parse_program
from tornado_multi.deploy.nginx.writing import render
from tornado_multi.process.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tornado_multi.deploy.nginx.tree import Directive
    from tornado_multi.deploy.nginx.versions import Nginx

ELSEWHERE = ("/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin")
"""Where nginx is that is not on the PATH of ordinary users."""
TEST_TIMEOUT_S = 60.0
SAID = re.compile(r"\[(emerg|alert|crit|error|warn)\] (?:\d+#\d+: )?(.+)")
"""``nginx: [warn] TEXT``, or with date, pid and thread once the log is open."""
ONLY_AS_ROOT = 'the "user" directive makes sense only'


class ProgramError(Exception):
    """nginx is not there, or does not do what it should; a full sentence, and the exit code."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Program:
    """nginx on this machine."""

    path: str
    nginx: Nginx


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test has shown."""

    problem: str | None
    """What nginx says against it; None: nothing."""
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Certificates that could not be read here, and were not tested."""


def find_program(name: str) -> Program:
    """Return nginx, with its version.

    Raises: ProgramError: it is not there, or it is not nginx.
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), *ELSEWHERE])
    path = shutil.which(name, path=places)
    if path is None:
        message = (
            f"There is no program {name} here. Install nginx, or name it with --nginx-program."
        )
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM)
    done = _run([path, "-V"])
    try:
        return Program(path, parse_program(done.stderr + done.stdout))
    except ValueError as error:
        message = f"{path} is not nginx: {error}."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error


def rehearse(program: Program, directives: Sequence[Directive], *, is_part: bool) -> Tested:
    """Let nginx test a configuration in a directory of its own; the machine is not touched.

    Raises: ProgramError: nginx can't be run.
    """
    with tempfile.TemporaryDirectory(prefix="tornado_multi-nginx-") as directory:
        rehearsal = Rehearsal(directory, lambda path: os.access(path, os.R_OK))
        change = rehearsal.of_part if is_part else rehearsal.of_file
        file = os.path.join(directory, "nginx.conf")
        with open(file, "w", encoding="utf-8") as out:
            out.write(render(change(directives)))
        tested = check_file(program, file, prefix=directory)
        return Tested(
            _without(tested.problem, directory) if tested.problem else None,
            tuple(_without(text, directory) for text in tested.warnings),
            tuple(rehearsal.unread),
        )


def check_file(program: Program, file: str | None, *, prefix: str | None = None) -> Tested:
    """Let nginx test a file with all that it includes, where it is.

    Args: file: None: nginx's own.
    Raises: ProgramError: nginx can't be run.
    """
    command = [program.path, "-t", "-q"]
    command += ["-p", prefix] if prefix else []
    command += ["-c", file] if file else []
    if prefix and program.nginx.can("error_log_flag"):
        command += ["-e", "stderr"]
    done = _run(command)
    said = [found.groups() for line in done.stderr.splitlines() if (found := SAID.search(line))]
    warnings = tuple(
        text for level, text in said if level == "warn" and not text.startswith(ONLY_AS_ROOT)
    )
    if done.returncode == 0:
        return Tested(None, warnings)
    problems = [text for level, text in said if level in {"emerg", "alert", "crit"}]
    unknown = done.stderr.strip().partition("\n")[0] or f"it exits with code {done.returncode}"
    return Tested(problems[0] if problems else unknown, warnings)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the program that the user named
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TEST_TIMEOUT_S,
        )
    except OSError as error:
        message = f"Can't run {command[0]}: {error.strerror}."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(command)} did not end within {TEST_TIMEOUT_S:g} s."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error


def _without(text: str, directory: str) -> str:
    """Leave out the place of the test, which is gone by the time that somebody reads this."""
    return text.replace(f"{directory}/", "")
