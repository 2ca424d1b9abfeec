"""Asking ``tornado-multi check`` what it finds in an app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.cluster import REPOSITORY, VICTIMS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.marks import Mark


@dataclass(frozen=True)
class Finding:
    """One finding as ``check --json`` prints it."""

    word: str
    kind: str
    what: str
    file: str
    """Its name, without directories; empty if the line is not known."""
    line: int


def check(
    app: str, environment: Mapping[str, str], *options: str, chdir: Path = VICTIMS
) -> list[Finding]:
    """Return what the audit of an app finds.

    Raises: AssertionError: the command failed, or its exit code disagrees with what it found.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tornado_multi",
            "check",
            app,
            "--json",
            "--chdir",
            str(chdir),
            *options,
        ],
        cwd=REPOSITORY,
        env=os.environ | dict(environment),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    found = [
        Finding(
            item["word"],
            item["kind"],
            item["what"],
            os.path.basename(item["file"] or ""),
            item["line"] or 0,
        )
        for item in json.loads(done.stdout)["findings"]
    ]
    has_errors = any(finding.word == "error" for finding in found)
    assert done.returncode == int(has_errors), (done.returncode, found)
    return found


def errors_at(found: list[Finding], expected: list[Mark]) -> list[Mark]:
    """Return those of the marks whose line some error names."""
    named = {(item.file, item.line) for item in found if item.word == "error"}
    return [mark for mark in expected if (mark.file, mark.line) in named]
