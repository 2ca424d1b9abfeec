"""Apps in which an audit finds nothing to complain of, and what they need to be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster import REPOSITORY, VICTIMS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CLEAN_APPS = {
    "demo_app:make_app": REPOSITORY,
    "clean.chat:app": VICTIMS,
    "clean.blog:make_app": VICTIMS,
    "clean.ticker:make_app": VICTIMS,
    "clean.uploads:make_app": VICTIMS,
    "clean.libraries:make_app": VICTIMS,
}
"""The directory of each."""


def clean_environment(request: pytest.FixtureRequest, directory: Path) -> dict[str, str]:
    """Return what the apps read: a directory for their files, and where the peers are."""
    environment = {"BLOG_DATABASE": str(directory / "blog.db")}
    for peer in ("postgres", "redis_peer", "echo_servers"):
        environment |= request.getfixturevalue(peer).environment
    return environment
