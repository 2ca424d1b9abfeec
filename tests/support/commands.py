"""Running our own commands against a cluster."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support.cluster import REPOSITORY

if TYPE_CHECKING:
    from support.cluster import Cluster


def run_command(made: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``tornado-multi ARGUMENTS`` for this cluster."""
    return subprocess.run(
        [sys.executable, "-m", "tornado_multi", *arguments, "--control", str(made.control)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
