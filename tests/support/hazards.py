"""What ``tests/victims/hazards.py`` plants, read from its text: no hazard is planted here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster import VICTIMS
from support.marks import marks

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from support.marks import Mark

HAZARDS: dict[str, Mark] = {mark.function: mark for mark in marks(VICTIMS / "hazards.py")}
"""Every hazard by its name, with the kind and the line that an audit has to name."""
PEERS = ("postgres", "redis_peer", "echo_servers")


def hazard_environment(request: pytest.FixtureRequest, directory: Path) -> dict[str, str]:
    """Return what the hazards read: a directory for their files, and where the peers are."""
    environment = {"HAZARD_DIRECTORY": str(directory)}
    for peer in PEERS:
        environment |= request.getfixturevalue(peer).environment
    return environment
