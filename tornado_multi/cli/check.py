"""``check``: load the app as a zygote would, and say what its workers would share by accident."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.findings import render, summary
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.paths import typed_directory

if TYPE_CHECKING:
    from tornado_multi.settings.model import Settings

CHUNK_BYTES = 64 * 1024


def check(
    settings: Settings,
    app_arguments: tuple[str, ...] | None,
    *,
    as_json: bool,
    strict_warnings: bool,
    trace: bool,
    factory: bool,
) -> int:
    """Audit and print. Returns the exit code: 1 for errors, 3 if the app can't be loaded."""
    chosen = os.path.join(typed_directory(), settings.environment.chdir or "")
    directory = chosen.rstrip("/") or "/"
    request = {
        "app": settings.app,
        "app_arguments": app_arguments,
        "directory": directory,
        "allow": settings.safety.fork_safety_allow,
        "quarantine": settings.safety.fork_safety_quarantine,
        "trace": trace,
        "factory": factory,
    }
    answer = _ask(request, settings.workers.boot_timeout_s)
    if "reason" in answer:
        return _say_failure(answer, as_json=as_json)
    findings = answer["findings"]
    counts = [sum(item["word"] == word for item in findings) for word in ("error", "warning")]
    failed = counts[0] or (strict_warnings and counts[1]) or "factory_failure" in answer
    if as_json:
        record = {"app": settings.app, "errors": counts[0], "warnings": counts[1]} | answer
        print(json.dumps(record, ensure_ascii=False))
    else:
        _print(answer, counts, directory)
    return int(ExitCode.NO if failed else ExitCode.DONE)


def _ask(request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Have a fresh process answer; what the app prints goes to our standard error."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "tornado_multi.check_process", str(theirs.fileno())]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
        theirs.close()
        ours.settimeout(timeout_s)
        try:
            ours.sendall(json.dumps(request).encode() + b"\n")
            answer = _read(ours)
        except TimeoutError:
            process.kill()
            reason = f"Importing {request['app']} did not finish within {timeout_s:g} s."
            answer = {"reason": reason, "detail": "", "usage": False}
        except OSError:
            answer = {}
        finally:
            code = process.wait()
    if not answer:
        how = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
        reason = f"The process that imported {request['app']} {how} before it could be audited."
        return {"reason": reason, "detail": "", "usage": False}
    return answer


def _read(sock: socket.socket) -> dict[str, Any]:
    """Read one line. Not to the end of file, which a child of the app would keep away."""
    data = bytearray()
    while not data.endswith(b"\n"):
        chunk = sock.recv(CHUNK_BYTES)
        if not chunk:
            return {}
        data += chunk
    answer: dict[str, Any] = json.loads(data)
    return answer


def _say_failure(answer: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print(f"{answer['reason']}\n{answer['detail']}".rstrip(), file=sys.stderr)
    return int(ExitCode.USAGE if answer["usage"] else ExitCode.BOOT_FAILED)


def _print(answer: dict[str, Any], counts: list[int], directory: str) -> None:
    said = summary(*counts)
    findings = answer["findings"]
    print(f"{said} before the first fork" if said != "clean" else "Clean before the first fork.")
    for index, finding in enumerate(findings):
        if index == 0 or finding["word"] != findings[index - 1]["word"]:
            print()
        print(render(finding, directory))
    for note in answer["notes"]:
        print(f"\n{note}")
    without = [item for item in findings if item["word"] == "error" and not item["file"]]
    if without:
        print("\nFor a line that is missing, try --trace: it looks after each line of the app.")
    if "factory_failure" in answer:
        print(f"\n{answer['factory_failure']}\n{answer['factory_detail']}".rstrip())
    elif "factory" in answer:
        print("\nOpened by the factory, in each worker for itself:")
        for finding in answer["factory"]:
            place = f"  {finding['file']}:{finding['line']}" if finding["file"] else ""
            print(f"  {finding['what']}{place.replace(directory.rstrip('/') + '/', '')}")
        if not answer["factory"]:
            print("  nothing")
