"""Each test begins a life in which nothing was created."""

from __future__ import annotations

import pytest

from tornado_multi.resources import lives


@pytest.fixture(autouse=True)
def life(monkeypatch: pytest.MonkeyPatch) -> lives.Life:
    """The life of this test."""
    lives.watch_forks()
    begun = lives.Life(lives.current.epoch)
    begun.closes_at_exit = True  # the tests' own process has nothing to close at its end
    monkeypatch.setattr(lives, "current", begun)
    return begun
