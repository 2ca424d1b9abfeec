"""What some tests need of the machine. In continuous integration a lack is a failure."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def require_program(name: str, package: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name)
    if path is None:
        _lacking(f"there is no {name} here (Debian: apt-get install {package}; make test does)")
    return str(path)


def require_built(path: Path, how: str) -> str:
    """Return the path of what ``make`` puts into the repository, or skip the test."""
    if not path.exists():
        _lacking(f"there is no {path.name} here ({how}; make test does)")
    return str(path)


def require_tool(name: str) -> str:
    """Return the path of a program that the test extra brings, or skip the test."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        _lacking(
            f"there is no {name} beside {sys.executable} (pip install '.[test]'; make test does)"
        )
    return str(path)


def require_root(why: str) -> None:
    if os.getuid() != 0:
        _lacking(f"only root can {why}")


def _lacking(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
