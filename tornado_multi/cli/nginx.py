"""``nginx``: print the configuration of nginx for the service; test it, write it, let nginx load it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado_multi.control.client import ControlError, connect
from tornado_multi.control.protocol import Request
from tornado_multi.deploy.files import Written, alone, write_whole
from tornado_multi.deploy.nginx.addresses import peers_of, peers_of_listeners
from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.generate import configuration
from tornado_multi.deploy.nginx.plan import Plan
from tornado_multi.deploy.nginx.program import ProgramError, check_file, find_program, rehearse
from tornado_multi.deploy.nginx.reloading import Running, find_running, hash_served
from tornado_multi.deploy.nginx.versions import Nginx, Version
from tornado_multi.deploy.nginx.writing import to_plain
from tornado_multi.process.cgroups import worker_count
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.load import UsageError

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.generate import Configuration, Part
    from tornado_multi.deploy.nginx.program import Program
    from tornado_multi.settings.model import Settings
    from tornado_multi.settings.nginx import NginxSettings

DRAIN_MARGIN_S = 10.0
"""Beyond nginx's own worker_shutdown_timeout."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    part: Part = "all"
    check: bool = False
    output: str | None = None
    reload: bool = False
    as_json: bool = False
    live: bool = False


def nginx(settings: Settings, options: NginxSettings, asked: Asked) -> int:
    """Do what was asked. Returns the exit code.

    Raises: UsageError: the settings ask for what can't be.
    """
    if asked.reload and asked.output is None:
        raise UsageError("--reload-nginx needs --output FILE: the file that nginx reads.")
    try:
        return _nginx(settings, options, asked)
    except RefusedError as error:
        raise UsageError(str(error)) from error
    except (ProgramError, ControlError) as error:
        print(f"tornado-multi: {error}", file=sys.stderr)
        return int(error.exit_code)


def _nginx(settings: Settings, options: NginxSettings, asked: Asked) -> int:
    program, version = _program(options, needed=asked.check or asked.reload)
    plan = _plan(settings, options, version, live=asked.live)
    made = configuration(plan, asked.part)
    text = made.text()
    for note in made.notes:
        print(f"tornado-multi: {note}", file=sys.stderr)
    is_checked = False
    if asked.check or asked.output is not None:
        is_checked = _check(program, plan, made, asked)
    if asked.output is None:
        if asked.as_json:
            print(json.dumps(_as_json(plan, made), indent=2, ensure_ascii=False))
        else:
            print(text, end="")
        return int(ExitCode.DONE)
    with alone(asked.output, _say_that_we_wait):
        report = _put_to_use(program, plan, made, asked, asked.output)
    if asked.as_json:
        print(json.dumps({**report, "is_checked": is_checked}, ensure_ascii=False))
    return int(ExitCode.DONE)


def _put_to_use(
    program: Program | None, plan: Plan, made: Configuration, asked: Asked, output: str
) -> dict[str, Any]:
    """Write the file and, if asked to, let nginx load it. Returns what is to be told."""
    written = _write(output, made.text())
    report: dict[str, Any] = {
        "output": output,
        "is_changed": written.is_changed,
        "backup": written.backup,
        "config_hash": made.config_hash,
        "notes": made.notes,
        "reload": None,
    }
    if not asked.as_json:
        kept = f", the old one is {written.backup}" if written.backup else ""
        print(f"{output}: {'written' + kept if written.is_changed else 'unchanged'}")
    if asked.reload:
        assert program is not None
        report["reload"] = _reload(program, plan, made, written, asked)
    return report


def _say_that_we_wait(directory: str) -> None:
    print(f"tornado-multi: Waiting for another one, which writes in {directory}.", file=sys.stderr)


def _program(options: NginxSettings, *, needed: bool) -> tuple[Program | None, Nginx]:
    """Return nginx here, if it is there, and the version to write for."""
    try:
        program: Program | None = find_program(options.nginx_program)
    except ProgramError as error:
        if needed:
            raise
        if options.nginx_version is None:
            message = f"{error} Or say which version to write for: --nginx-version 1.22.1."
            raise ProgramError(message, error.exit_code) from error
        program = None
    if options.nginx_version is not None:
        version = Version.parse(options.nginx_version)
        if program is None or program.nginx.version != version:
            return program, Nginx(version)
    assert program is not None
    return program, program.nginx


def _plan(settings: Settings, options: NginxSettings, nginx: Nginx, *, live: bool) -> Plan:
    if not live:
        number = worker_count(settings.instances.count)
        return Plan(settings, options, nginx, peers_of(settings, number, options.server))
    connection = connect(settings.control)
    replies = list(connection.ask(Request("status")))
    connection.close()
    last: dict[str, Any] = (
        replies[-1] if replies else {"event": "error", "text": "The supervisor left."}
    )
    if last["event"] != "done":
        raise ControlError(str(last.get("text", last)), ExitCode.NO)
    status = last["status"]
    # A supervisor that was not restarted since an update may not know fork_ids there.
    listeners = [(item["address"], item.get("fork_id")) for item in status["listeners"]]
    peers = peers_of_listeners(listeners, options.server)
    named = dataclasses.replace(settings.control, name=settings.control.name or status["name"])
    return Plan(dataclasses.replace(settings, control=named), options, nginx, peers)


def _check(program: Program | None, plan: Plan, made: Configuration, asked: Asked) -> bool:
    """Let nginx test it. Returns whether it has.

    Raises: ProgramError: it has something against it.
    """
    why = None
    if program is None:
        why = f"there is no {plan.options.nginx_program} here"
    elif program.nginx.version != plan.nginx.version:
        why = f"it is for nginx {plan.nginx.version}, and here is {program.nginx.version}"
    if why is not None:
        if asked.check:
            message = f"The configuration can't be tested: {why}."
            raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM)
        print(f"tornado-multi: The configuration was not tested: {why}.", file=sys.stderr)
        return False
    assert program is not None
    directives = made.directives
    if asked.part == "server":  # it needs the other one
        directives = (*configuration(plan, "upstream").directives, *directives)
    tested = rehearse(program, directives, is_part=asked.part != "all")
    for warning in tested.warnings:
        print(f"tornado-multi: nginx warns: {warning}", file=sys.stderr)
    if tested.problem is not None:
        kept = f" {asked.output} was not changed." if asked.output is not None else ""
        message = (
            f"nginx {program.nginx.version} refuses this configuration: {tested.problem}.{kept}"
        )
        raise ProgramError(message, ExitCode.NO)
    for path in tested.unread:
        print(f"tornado-multi: {path} can't be read here and was not tested.", file=sys.stderr)
    if asked.check and not asked.as_json:
        print(f"tornado-multi: nginx {program.nginx.version} takes it.", file=sys.stderr)
    return True


def _write(output: str, text: str) -> Written:
    try:
        return write_whole(output, text)
    except OSError as error:
        reason = error.strerror or str(error)
        directory = os.path.dirname(os.path.realpath(output))
        if not os.path.isdir(directory):
            reason = f"there is no directory {directory}"
        message = f"Can't write {output}: {reason}. Nothing was changed."
        raise ProgramError(message, ExitCode.REFUSED_BY_SYSTEM) from error


def _reload(
    program: Program, plan: Plan, made: Configuration, written: Written, asked: Asked
) -> dict[str, Any]:
    """Let the running nginx take it over. Returns what is to be told.

    Raises: ProgramError: it has not; the file of before is back, then.
    """
    options = plan.options
    show = sys.stderr.isatty() and not asked.as_json
    try:
        pid = find_running(options.nginx_pid_file)
        if not written.is_changed and _has_it(plan, made):
            if not asked.as_json:
                print("nginx runs it already")
            return {"pid": pid, "is_needed": False}
        main_file = options.main_file or (written.path if asked.part == "all" else None)
        tested = check_file(program, main_file)
        if tested.problem is not None:
            message = f"nginx was not reloaded, it refuses its files: {tested.problem}."
            raise ProgramError(message, ExitCode.NO)
        taken = Running(pid, options.error_log).reload(
            plan.private,
            made.config_hash,
            drain_s=plan.settings.workers.drain_timeout_s + DRAIN_MARGIN_S,
            progress=lambda text: _show(text, show=show),
        )
    except ProgramError as error:
        _show("", show=show)
        back = ""
        if written.is_changed and "serves the new configuration" not in str(error):
            back = f" {_put_back(written, asked)}"
        raise ProgramError(f"{error}{back}", error.exit_code) from error
    _show("", show=show)
    if not asked.as_json:
        print(
            f"nginx (pid {pid}) has taken it over in {taken.duration_s:.2f} s, "
            f"{taken.workers_ended} old workers ended"
        )
    if taken.workers_left:
        pids = ", ".join(map(str, taken.workers_left))
        print(
            f"tornado-multi: {len(taken.workers_left)} of nginx's old workers still serve long "
            f"connections (pid {pids}); worker_shutdown_timeout in nginx's main file limits them.",
            file=sys.stderr,
        )
    return {
        "pid": pid,
        "is_needed": True,
        "duration_s": round(taken.duration_s, 3),
        "workers_ended": taken.workers_ended,
        "workers_left": list(taken.workers_left),
    }


def _put_back(written: Written, asked: Asked) -> str:
    """Undo it. Returns what has become of the file, as a sentence."""
    try:
        written.undo()
    except OSError as error:
        where = f"; the old one is {written.backup}" if written.backup else ""
        return f"{asked.output} can't be put back as it was before: {error.strerror}{where}."
    return f"{asked.output} is as it was before."


def _has_it(plan: Plan, made: Configuration) -> bool:
    return made.config_hash is not None and hash_served(plan.private) == made.config_hash


def _show(text: str, *, show: bool) -> None:
    """Write the one line of progress over the last one."""
    if show:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _as_json(plan: Plan, made: Configuration) -> dict[str, Any]:
    return {
        "nginx_version": str(plan.nginx.version),
        "config_hash": made.config_hash,
        "peers": [dataclasses.asdict(peer) for peer in plan.peers],
        "notes": list(made.notes),
        "directives": to_plain(made.directives),
    }
