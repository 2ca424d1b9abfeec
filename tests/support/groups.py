"""Control groups of our own, to run a service in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.programs import require_root
from support.waiting import eventually

MakeGroup = Callable[[str, dict[str, str]], Path]

CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def control_groups() -> Iterator[MakeGroup]:
    """Make control groups of version 1 or 2, where this machine lets us; remove them afterwards."""
    made: list[Path] = []

    def make(controller: str, limits: dict[str, str]) -> Path:
        require_root("make a control group")
        for parent, version in ((CGROUPS / controller, 1), (CGROUPS, 2)):
            is_own = version == 1 or controller in _controllers(parent)
            if not is_own or not parent.is_dir():
                continue
            group = parent / f"tornado-multi-test-{secrets.token_hex(4)}"
            try:
                group.mkdir()
            except OSError:
                continue
            made.append(group)
            try:
                for name, value in limits.items():
                    if (group / name).exists():
                        (group / name).write_text(value)
            except OSError:
                continue
            return group
        pytest.skip(f"this machine gives nobody a control group with {controller}")

    yield make
    for group in made:
        eventually(lambda group=group: not (group / "cgroup.procs").read_text(), about="members")
        group.rmdir()


def _controllers(group: Path) -> list[str]:
    file = group / "cgroup.subtree_control"
    return file.read_text().split() if file.exists() else []


def entering(*groups: Path) -> list[str]:
    """Return a wrapper that enters groups and execs what follows."""
    enter = " && ".join(f"echo $$ > {group}/cgroup.procs" for group in groups)
    return ["sh", "-c", f'{enter} && exec "$@"', "sh"]
